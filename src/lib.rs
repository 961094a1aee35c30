//! Backs up and restores Milvus on Kubernetes.
//!
//! Two halves that meet only in [`engine::task`]:
//!
//! - [`controller`] watches the custom resources of [`api`], starts one Job per attempt and writes status. It never
//!   touches Milvus or a bucket.
//! - [`engine`] runs inside that Job, or from a shell, and never touches Kubernetes. It speaks to [`milvus`], reads and
//!   writes [`storage`], and keeps to the on-bucket format of [`manifest`].
//!
//! Arrows point one way: `controller -> api, engine::task`; `engine -> milvus, storage, manifest`; `local -> config, engine`;
//! `config -> engine::task`; `compat -> local, engine`; `compat_cluster -> api, compat, local, manifest`.
//! `api`, `milvus`, `storage` and `manifest` use nothing of ours.

pub mod api;
pub mod cli;
pub mod compat;
pub mod compat_cluster;
pub mod config;
pub mod controller;
pub mod engine;
pub mod exit;
pub mod local;
pub mod manifest;
pub mod milvus;
pub mod storage;
pub mod telemetry;
