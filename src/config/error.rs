//! What is wrong with the settings. Never holds a value that may be a secret.

use crate::engine::error::EngineError;
use crate::exit::Class;

/// Settings that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file is not there, cannot be read, or is no YAML.
    #[error("{0}")]
    File(String),
    /// One line for each value that cannot be used.
    #[error("the configuration cannot be used: {}", .0.join("; "))]
    Invalid(Vec<String>),
    /// Understood, but nothing here can carry it out.
    #[error("{0}")]
    Unsupported(String),
}

impl ConfigError {
    /// A person has to change something.
    pub fn class(&self) -> Class {
        match self {
            ConfigError::File(_) | ConfigError::Invalid(_) | ConfigError::Unsupported(_) => Class::Configuration,
        }
    }
}

impl From<ConfigError> for EngineError {
    fn from(error: ConfigError) -> EngineError {
        EngineError::Setup { reason: "InvalidConfiguration", message: error.to_string() }
    }
}
