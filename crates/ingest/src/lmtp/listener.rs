//! Where mail servers connect to.

use std::{
    fs::{self, File, Permissions},
    io::{self, Write as _},
    net::SocketAddr,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FlockOperation, Mode, OFlags, flock},
    io::Errno,
};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_util::either::Either;

use super::Config;
use crate::Mistake;

pub(super) type Stream = Either<TcpStream, UnixStream>;

/// The mail server usually runs as another user, and to connect is to write. Who else may is decided by the permissions of
/// the folder, as it is for the sockets of mail servers themselves; a TCP port on loopback is no less open.
const SOCKET_MODE: u32 = 0o666;

/// Where to listen.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Place {
    pub(super) fn parse(listen: &str) -> Result<Self, Mistake> {
        let mistake = || {
            Mistake::new(
                "listen",
                format!("must be an address with a port or unix:/path, not {listen:?}"),
            )
        };
        match listen.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            Some(_) => Err(mistake()),
            None => listen.parse().map(Self::Tcp).map_err(|_| mistake()),
        }
    }
}

/// The socket listened on.
#[derive(Debug)]
pub struct Listener(Socket);

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

impl Listener {
    /// Listens; connections wait until they are served.
    pub async fn bind(config: &Config) -> io::Result<Self> {
        let place = Place::parse(&config.listen).map_err(io::Error::other)?;
        match place {
            Place::Tcp(address) => Ok(Self(Socket::Tcp(TcpListener::bind(address).await?))),
            Place::Unix(path) => {
                let lock = lock(&path)?;
                remove_stale(&path)?;
                let listener = UnixListener::bind(&path)?;
                fs::set_permissions(&path, Permissions::from_mode(SOCKET_MODE))?;
                let inode = fs::symlink_metadata(&path)?.ino();
                let file = SocketFile {
                    path,
                    inode,
                    _lock: lock,
                };
                Ok(Self(Socket::Unix(listener, file)))
            }
        }
    }

    /// Where it listens, for people.
    pub fn address(&self) -> String {
        match &self.0 {
            Socket::Tcp(listener) => match listener.local_addr() {
                Ok(address) => address.to_string(),
                Err(error) => error.to_string(),
            },
            Socket::Unix(_, file) => format!("unix:{}", file.path.display()),
        }
    }

    pub(super) async fn accept(&self) -> io::Result<Stream> {
        match &self.0 {
            Socket::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // Answers are written at once; waiting for more to send only makes them late.
                _ = stream.set_nodelay(true);
                Ok(Either::Left(stream))
            }
            Socket::Unix(listener, _) => Ok(Either::Right(listener.accept().await?.0)),
        }
    }
}

/// Tells one connection too many to come back; whoever cannot even be told sees it closed.
pub(super) fn turn_away(stream: Stream) {
    let answer = b"421 4.3.2 too many connections, try again later\r\n";
    // Past tokio, which does not know yet that there is room for an answer.
    _ = match stream {
        Either::Left(tcp) => tcp.into_std().and_then(|mut tcp| tcp.write(answer)),
        Either::Right(unix) => unix.into_std().and_then(|mut unix| unix.write(answer)),
    };
}

/// Removed with the listener, unless another program has put its own in its place.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    inode: u64,
    /// Held to the end.
    _lock: File,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            _ = fs::remove_file(&self.path);
        }
    }
}

/// Keeps others from starting here: a socket that another one has just bound and does not listen on yet looks like a stale one.
/// The file stays, as whoever removes it may take it from under somebody who is about to lock it.
fn lock(socket: &Path) -> io::Result<File> {
    let mut path = socket.as_os_str().to_owned();
    path.push(".lock");
    let failed = |error: io::Error| {
        let text = format!("{}: {error}", path.display());
        io::Error::new(error.kind(), text)
    };
    let flags = OFlags::RDONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::open(&path, flags, Mode::from_raw_mode(0o644))
        .map_err(|error| failed(error.into()))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file.into()),
        Err(Errno::WOULDBLOCK) => Err(in_use()),
        Err(error) => Err(failed(error.into())),
    }
}

fn in_use() -> io::Error {
    io::Error::new(io::ErrorKind::AddrInUse, "another program listens there")
}

/// Removes the socket of a process that died; anything else is not ours to remove.
fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "a file that is no socket has this name",
            ));
        }
        Ok(_) => {}
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(in_use()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &Path) -> Config {
        Config {
            listen: format!("unix:{}", path.display()),
            ..Config::default()
        }
    }

    #[test]
    fn places_are_addresses_or_absolute_paths() {
        assert_eq!(
            Place::parse("[::1]:2424"),
            Ok(Place::Tcp("[::1]:2424".parse().unwrap()))
        );
        assert_eq!(
            Place::parse("unix:/run/x"),
            Ok(Place::Unix("/run/x".into()))
        );
        for other in ["2424", "localhost:2424", "unix:x", "unix:", "/run/x"] {
            assert_eq!(Place::parse(other).unwrap_err().key, "listen", "{other}");
        }
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lmtp.sock");
        // Dropping this listener leaves its file behind, as a crash does.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let listener = Listener::bind(&at(&path)).await.unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, SOCKET_MODE);

        let second = Listener::bind(&at(&path)).await.unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
        drop(listener);
        assert!(!path.exists(), "it is removed at the end");

        fs::write(&path, "a file").unwrap();
        let error = Listener::bind(&at(&path)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"a file");
    }

    #[tokio::test]
    async fn what_looks_stale_is_not_taken_from_one_that_is_starting() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lmtp.sock");
        let first = Listener::bind(&at(&path)).await.unwrap();
        // As it looks between the bind and the listen of the first.
        fs::remove_file(&path).unwrap();
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let second = Listener::bind(&at(&path)).await.unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
        assert!(path.exists());
        drop(first);
        Listener::bind(&at(&path)).await.unwrap();
    }
}
