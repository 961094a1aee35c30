//! Exit codes, and the classes of failure behind them.
//!
//! Every module's error answers `class()` with one of [`Class`]; the process exits with the matching code, and the
//! controller decides from the code whether another attempt makes sense.

use serde::{Deserialize, Serialize};

/// The run did all it was asked to.
pub const OK: u8 = 0;
/// Network, throttling, a busy or restarting server: another attempt continues from the checkpoint.
pub const RETRYABLE: u8 = 10;
/// A setting, a name, a permission: nothing changes until a person changes it.
pub const CONFIGURATION: u8 = 20;
/// Missing, damaged or contradictory data.
pub const DATA: u8 = 30;
/// Stopped on request (SIGTERM); the checkpoint was written.
pub const CANCELLED: u8 = 40;
/// A newer attempt holds the lock of this artifact.
pub const LOST_LOCK: u8 = 50;

/// What a caller does about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Class {
    /// Try again: the next attempt may pass without anybody's help.
    Retry,
    /// A person has to change a setting, a name or a permission.
    Configuration,
    /// Data is missing, damaged or contradicts its metadata.
    Data,
    /// The run was asked to stop.
    Cancelled,
    /// Another attempt took over.
    LostLock,
}

impl Class {
    /// The documented exit code of this class.
    pub fn exit_code(self) -> u8 {
        match self {
            Class::Retry => RETRYABLE,
            Class::Configuration => CONFIGURATION,
            Class::Data => DATA,
            Class::Cancelled => CANCELLED,
            Class::LostLock => LOST_LOCK,
        }
    }

    /// The class behind an exit code, `None` for success and for codes that are not ours (a crash, a kill).
    pub fn of_exit_code(code: i32) -> Option<Class> {
        [Class::Retry, Class::Configuration, Class::Data, Class::Cancelled, Class::LostLock]
            .into_iter()
            .find(|class| i32::from(class.exit_code()) == code)
    }
}
