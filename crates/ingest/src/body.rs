//! The bytes of a body, wherever they are.

use std::{borrow::Cow, fs::File, io, os::unix::fs::FileExt as _};

use report::Body;

/// The first bytes. Reads a file: not for an async thread.
pub(crate) fn start(body: &Body, bytes_max: usize) -> io::Result<Cow<'_, [u8]>> {
    match body {
        Body::Memory(bytes) => Ok(bytes[..bytes.len().min(bytes_max)].into()),
        Body::File(file) => Ok(load(file, bytes_max)?.into()),
    }
}

/// All bytes. Their number was limited where they came in. Reads a file: not for an async thread.
pub(crate) fn whole(body: &Body) -> io::Result<Cow<'_, [u8]>> {
    start(body, usize::MAX)
}

fn load(file: &File, bytes_max: usize) -> io::Result<Vec<u8>> {
    let size = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    let mut bytes = vec![0; size.min(bytes_max)];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_like_bytes_in_memory() {
        let bytes = b"From: a@example.com\r\n\r\nBody\r\n";
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(bytes, 0).unwrap();
        let memory = Body::Memory(bytes.to_vec().into());
        for body in [Body::File(file.into()), memory] {
            for length in [0, 4, bytes.len(), bytes.len() + 1] {
                let expected = &bytes[..length.min(bytes.len())];
                assert_eq!(&*start(&body, length).unwrap(), expected);
            }
            assert_eq!(&*whole(&body).unwrap(), bytes);
        }
    }
}
