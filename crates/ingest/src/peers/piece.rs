//! One report of many, in memory while it is small.

use std::{
    fs::File,
    io::{self, Write},
    sync::Arc,
};

use report::Body;

const MEMORY_BYTES_MAX: usize = 1024 * 1024;

/// A piece of a file in the making.
#[derive(Debug, Default)]
pub(super) struct Piece {
    memory: Vec<u8>,
    file: Option<File>,
}

impl Piece {
    pub(super) fn finish(self) -> io::Result<Body> {
        let Some(mut file) = self.file else {
            return Ok(Body::Memory(self.memory.into()));
        };
        file.write_all(&self.memory)?;
        Ok(Body::File(Arc::new(file)))
    }
}

impl Write for Piece {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.memory.len() + bytes.len() > MEMORY_BYTES_MAX {
            let file = match &mut self.file {
                Some(file) => file,
                None => self.file.insert(tempfile::tempfile()?),
            };
            file.write_all(&self.memory)?;
            self.memory.clear();
        }
        self.memory.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
