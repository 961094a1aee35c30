//! Calls about the server as a whole.

use super::call::Call;
use super::proto::milvus::{AllocTimestampRequest, CheckHealthRequest};
use super::{Milvus, MilvusError};

/// What the server says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// All components answer.
    pub healthy: bool,
    /// What is wrong; a healthy server lists quota states here.
    pub reasons: Vec<String>,
}

impl Milvus {
    /// Whether all components of the server answer.
    pub async fn health(&self) -> Result<Health, MilvusError> {
        let answer = self
            .session
            .call(Call::server("CheckHealth"), CheckHealthRequest {}, |mut c, r| async move { c.check_health(r).await })
            .await?;
        Ok(Health { healthy: answer.is_healthy, reasons: answer.reasons })
    }

    /// A hybrid timestamp of now by the server's clock: unix milliseconds shifted left by 18 bits. From 2.2.13 on.
    pub async fn allocate_timestamp(&self) -> Result<u64, MilvusError> {
        let call = Call::server("AllocTimestamp");
        let answer = self
            .session
            .call(call, AllocTimestampRequest {}, |mut c, r| async move { c.alloc_timestamp(r).await })
            .await?;
        Ok(answer.timestamp)
    }
}
