//! Who is behind the process id that a cluster's `postmaster.pid` names.
//!
//! PostgreSQL refuses to start while that process lives, even if the server is long dead and an unrelated process got
//! its number. ruad can tell them apart, and then takes the stale claim out of the way.

use std::{
    fs::{self, Metadata},
    io,
    os::unix::{fs::MetadataExt, net::UnixStream},
    path::Path,
    process,
};

use rustix::{
    io::Errno,
    process::{Pid, test_kill_process},
};

/// The server's own claim and that of its socket; both begin with its process id.
const CLAIMS: [&str; 2] = ["postmaster.pid", ".s.PGSQL.5432.lock"];

/// The cluster's server, if its process lives. `socket_folder` leads to the cluster by a path short enough for a socket.
pub(super) fn find(folder: &Path, socket_folder: &Path) -> Option<Pid> {
    let pid = claimed_pid(&folder.join(CLAIMS[0]))?;
    serves(pid, folder, socket_folder).then_some(pid)
}

/// Takes away what a dead server left behind and a new one would trip over. Only after [`find`] found nothing, and
/// with the start lock held.
pub(super) fn clear_claims(folder: &Path) -> io::Result<()> {
    for claim in CLAIMS {
        let path = folder.join(claim);
        let Ok(text) = fs::read_to_string(&path) else {
            continue;
        };
        let rest = text.split_once('\n').map_or("", |(_, rest)| rest);
        if claimed_pid(&path).is_none() {
            // Cut off by a crash of the machine: PostgreSQL refuses to guess what was meant.
            fs::remove_file(&path)?;
        } else {
            // PostgreSQL takes the number of its own parent for stale, and still sees the other lines: with them it
            // finds out whether old backends are attached to the shared memory.
            fs::write(&path, format!("{}\n{rest}", process::id()))?;
        }
    }
    Ok(())
}

fn claimed_pid(path: &Path) -> Option<Pid> {
    let text = fs::read_to_string(path).ok()?;
    let raw: i32 = text.lines().next()?.trim().parse().ok()?;
    // A standalone backend writes its number with a minus sign.
    Pid::from_raw(raw.checked_abs()?)
}

/// Whether a process is the server of this cluster; one that has ended and was not waited for is not.
pub(super) fn serves(pid: Pid, folder: &Path, socket_folder: &Path) -> bool {
    // Not permitted means another user's process, while ruad may always signal the user its server runs as.
    if let Err(Errno::PERM | Errno::SRCH) = test_kill_process(pid) {
        return false;
    }
    if pid.as_raw_nonzero().get().unsigned_abs() == process::id() {
        return false;
    }
    let Ok(cluster) = fs::metadata(folder) else {
        return false;
    };
    if cfg!(target_os = "linux") {
        let process = format!("/proc/{}", pid.as_raw_nonzero());
        match fs::metadata(format!("{process}/cwd")) {
            // The server works in its cluster's folder from its first moment, before it claims it.
            Ok(cwd) => return same_file(&cwd, &cluster),
            // Without the right to look, as for root in a container: the name and the user must at least fit.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let name = fs::read_to_string(format!("{process}/comm")).unwrap_or_default();
                let owner = fs::metadata(&process).map(|process| process.uid());
                return name.trim() == "postgres"
                    && owner.is_ok_and(|owner| owner == cluster.uid());
            }
            Err(_) => return false,
        }
    }
    UnixStream::connect(socket_folder.join(".s.PGSQL.5432")).is_ok()
}

fn same_file(a: &Metadata, b: &Metadata) -> bool {
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}
