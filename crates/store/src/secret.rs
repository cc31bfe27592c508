//! Random secrets. Whoever has one is let in; the database knows only what it hashes to.

use std::fmt::{self, Write as _};

use sha2::{Digest as _, Sha256};

use crate::Error;

/// 256 bits: nobody finds such a secret by trying, with or without its hash. A hash that is slow on purpose helps passwords,
/// which people choose; here one SHA-256 is enough.
const SECRET_BYTES: usize = 32;

/// A secret that was just made, to be shown once. It shows in no log.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(String);

impl SecretText {
    /// A text that is a secret.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[redacted]")
    }
}

/// So many random bytes in hexadecimal digits.
pub(crate) fn random_hex<const BYTES: usize>() -> Result<String, Error> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(Error::Random)?;
    Ok(hex(&bytes))
}

/// A new secret.
pub fn random_secret() -> Result<SecretText, Error> {
    random_hex::<SECRET_BYTES>().map(SecretText)
}

/// Whether a text has the form of a secret.
pub(crate) fn is_secret(text: &str) -> bool {
    is_hex(text, SECRET_BYTES)
}

/// Whether a text is so many bytes in lower-case hexadecimal digits.
pub(crate) fn is_hex(text: &str, bytes: usize) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.len() == bytes * 2 && text.bytes().all(is_digit)
}

/// What the database keeps of a secret.
pub(crate) fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret).into()
}

/// A secret that follows from another one, for another purpose, and does not give it away.
pub fn derive(purpose: &str, secret: &str) -> SecretText {
    let mut hash = Sha256::new();
    hash.update(purpose);
    hash.update([0]);
    hash.update(secret);
    SecretText(hex(&hash.finalize()))
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
            _ = write!(hex, "{byte:02x}");
            hex
        })
}

/// Compares in a time that does not tell how much is equal.
pub fn is_equal(one: &[u8], other: &[u8]) -> bool {
    use subtle::ConstantTimeEq as _;
    one.ct_eq(other).into()
}
