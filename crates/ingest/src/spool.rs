//! Bytes that arrive piece by piece, from clients of any speed and in any number.

use std::{io, sync::Arc};

use report::Body;
use tokio::{fs::File, io::AsyncWriteExt as _};

/// Larger bodies go to an unnamed file, so that many deliveries at a time need little memory.
const MEMORY_BYTES_MAX: usize = 256 * 1024;

/// A body in the making.
#[derive(Debug, Default)]
pub struct Spool {
    memory: Vec<u8>,
    file: Option<File>,
}

impl Spool {
    /// Adds the next piece.
    pub async fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        if let Some(file) = &mut self.file {
            return file.write_all(piece).await;
        }
        self.memory.extend_from_slice(piece);
        if self.memory.len() > MEMORY_BYTES_MAX {
            let mut file = File::from_std(tokio::task::spawn_blocking(tempfile::tempfile).await??);
            file.write_all(&std::mem::take(&mut self.memory)).await?;
            self.file = Some(file);
        }
        Ok(())
    }

    /// The body, once all of it has arrived.
    pub async fn finish(self) -> io::Result<Body> {
        let Some(mut file) = self.file else {
            return Ok(Body::Memory(self.memory.into()));
        };
        file.flush().await?;
        Ok(Body::File(Arc::new(file.into_std().await)))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::*;

    #[tokio::test]
    async fn large_bodies_are_spooled() {
        for pieces in [0, 1, 256, 257, 1000] {
            let mut spool = Spool::default();
            for _ in 0..pieces {
                spool.write(&[7; 1024]).await.unwrap();
            }
            let body = spool.finish().await.unwrap();
            assert_eq!(matches!(body, Body::File(_)), pieces > 256, "{pieces}");
            let bytes = match body {
                Body::Memory(bytes) => bytes.to_vec(),
                Body::File(file) => {
                    let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
                    file.read_exact_at(&mut bytes, 0).unwrap();
                    bytes
                }
            };
            assert_eq!(bytes, vec![7; pieces * 1024]);
        }
    }
}
