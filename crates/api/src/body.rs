//! Reads an upload within its limits: bytes, seconds, memory.

use std::{io, os::unix::fs::FileExt as _, sync::Arc, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use ingest::Spool;
use tokio::time::{Instant, timeout, timeout_at};

use crate::{Config, Error};

/// How long the rest of a refused body is read.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads a body to its end.
pub(crate) async fn read(body: &mut Body, config: &Config) -> Result<report::Body, Error> {
    let too_large = || Error::TooLarge {
        bytes_max: config.body_bytes_max,
    };
    if body.size_hint().lower() > config.body_bytes_max {
        return Err(too_large());
    }
    let deadline = Instant::now() + config.upload_timeout();
    let mut left_bytes = config.body_bytes_max;
    let mut spool = Spool::default();
    loop {
        let idle = Instant::now() + config.idle_timeout();
        let frame = match timeout_at(deadline.min(idle), body.frame()).await {
            Ok(Some(frame)) => frame.map_err(|error| Error::BadBody(error.to_string()))?,
            Ok(None) => return Ok(spool.finish().await?),
            Err(_) => return Err(Error::Slow),
        };
        if let Ok(chunk) = frame.into_data() {
            left_bytes = left_bytes
                .checked_sub(chunk.len() as u64)
                .ok_or_else(too_large)?;
            spool.write(&chunk).await?;
        }
    }
}

/// Reads on what was refused, a while and without keeping it: a client that is still sending when its connection is
/// closed does not get to see the answer.
pub(crate) async fn discard(mut body: Body) {
    let drain = async { while let Some(Ok(_)) = body.frame().await {} };
    // Whoever sends for longer than this is not waiting for an answer.
    _ = timeout(DISCARD_TIMEOUT, drain).await;
}

/// How large a body is.
pub(crate) fn size_bytes(body: &report::Body) -> io::Result<u64> {
    Ok(match body {
        report::Body::Memory(bytes) => bytes.len() as u64,
        report::Body::File(file) => file.metadata()?.len(),
    })
}

/// A file is read in so large pieces that looking through all of it again with each is cheap.
const PIECE_BYTES: usize = 1024 * 1024;

/// The bytes of a body, to be read once more.
pub(crate) fn replay(body: report::Body) -> Body {
    let file = match body {
        report::Body::Memory(bytes) => return Body::from(bytes),
        report::Body::File(file) => file,
    };
    Body::from_stream(stream::try_unfold(0, move |offset_bytes| {
        let file = Arc::clone(&file);
        async move {
            let piece = tokio::task::spawn_blocking(move || {
                let mut piece = vec![0; PIECE_BYTES];
                let length = file.read_at(&mut piece, offset_bytes)?;
                piece.truncate(length);
                io::Result::Ok(Bytes::from(piece))
            })
            .await??;
            let next = offset_bytes + piece.len() as u64;
            io::Result::Ok((!piece.is_empty()).then_some((piece, next)))
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(chunks: usize) -> Body {
        Body::from_stream(stream::iter(
            (0..chunks).map(|_| io::Result::Ok(Bytes::from_static(&[7; 1024]))),
        ))
    }

    #[tokio::test]
    async fn large_bodies_are_spooled() {
        let config = Config::default();
        for chunks in [0, 1, 256, 257, 1024, 2500] {
            let read = read(&mut body(chunks), &config).await.unwrap();
            assert_eq!(
                matches!(read, report::Body::File(_)),
                chunks > 256,
                "{chunks}"
            );
            let bytes = replay(read).collect().await.unwrap().to_bytes();
            assert_eq!(bytes.len(), chunks * 1024);
            assert!(bytes.iter().all(|&byte| byte == 7));
        }
    }

    #[tokio::test]
    async fn the_limit_holds_with_and_without_a_declared_length() {
        let config = Config {
            body_bytes_max: 4096,
            ..Config::default()
        };
        assert!(read(&mut body(4), &config).await.is_ok());
        for mut body in [body(5), Body::from(vec![7; 4097])] {
            assert!(matches!(
                read(&mut body, &config).await,
                Err(Error::TooLarge { bytes_max: 4096 })
            ));
        }
    }

    #[tokio::test]
    async fn a_body_that_stands_still_is_given_up() {
        let mut body = Body::from_stream(stream::pending::<io::Result<Bytes>>());
        let config = Config {
            idle_timeout_secs: 0,
            ..Config::default()
        };
        assert!(matches!(read(&mut body, &config).await, Err(Error::Slow)));
    }
}
