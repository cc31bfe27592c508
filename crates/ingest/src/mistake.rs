//! Mistakes in the configuration.

/// A key whose value cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} {problem}")]
pub struct Mistake {
    /// The key within its section.
    pub key: &'static str,
    /// What is wrong with it, as the rest of a sentence.
    pub problem: String,
}

impl Mistake {
    /// A mistake with this key.
    pub fn new(key: &'static str, problem: impl Into<String>) -> Self {
        Self {
            key,
            problem: problem.into(),
        }
    }

    /// `Err` if there is nothing where there must be something.
    pub fn if_empty(key: &'static str, value: &str) -> Result<(), Self> {
        if value.is_empty() {
            return Err(Self::new(key, "is missing"));
        }
        Ok(())
    }

    /// `Err` if a number is 0 that must not be.
    pub(crate) fn if_zero(key: &'static str, value: u64) -> Result<(), Self> {
        if value == 0 {
            return Err(Self::new(key, "must not be 0"));
        }
        Ok(())
    }
}
