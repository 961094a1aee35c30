//! Whether a run can start on a Milvus now. Nothing here is a failure: the run waits.

use serde::Serialize;
use serde_json::Value;

use super::resource::Resource;
use crate::api::conditions::reason;

/// Whether a run can start now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum MilvusState {
    /// It can.
    Healthy,
    /// In the middle of a change.
    Updating {
        /// What goes on, in a sentence.
        message: String,
    },
    /// It does not serve.
    Unhealthy {
        /// What is wrong, in a sentence.
        message: String,
    },
}

impl MilvusState {
    /// Reason and message of `Admitted=False`; none when a run can start.
    pub fn obstacle(&self) -> Option<(&'static str, &str)> {
        match self {
            MilvusState::Healthy => None,
            MilvusState::Updating { message } => Some((reason::SOURCE_UPDATING, message)),
            MilvusState::Unhealthy { message } => Some((reason::SOURCE_UNHEALTHY, message)),
        }
    }
}

pub(super) fn find(resource: &Resource<'_>) -> MilvusState {
    if let Some(what) = change(resource) {
        return MilvusState::Updating {
            message: format!("Milvus {} {what}: the run starts when it is done", resource.id()),
        };
    }
    match trouble(resource) {
        Some(what) => MilvusState::Unhealthy {
            message: format!("Milvus {} {what}: the run starts when it is healthy", resource.id()),
        },
        None => MilvusState::Healthy,
    }
}

/// A change in progress. A paused reconcile (`milvus.io/pause-reconcile`) alone is none: the server goes on serving.
fn change(resource: &Resource<'_>) -> Option<String> {
    let stopped = matches!(resource.text("/status/status"), None | Some("Pending" | "Stopped" | "Deleting"));
    if stopped {
        return None;
    }
    let seen = resource.number("/status/observedGeneration").unwrap_or(0);
    let generation = resource.number("/metadata/generation").unwrap_or(0);
    // Operators that do not write observedGeneration leave it at 0.
    if seen > 0 && seen < generation {
        return Some("has a change that Milvus Operator has not taken up yet".to_owned());
    }
    if let Some(updated) = condition(resource, "MilvusUpdated").filter(|updated| is(updated, "False")) {
        return Some(format!("is being updated{}", because(updated)));
    }
    if let Some(component) = rolling_component(resource) {
        return Some(format!("is being updated (component {component})"));
    }
    let annotations = resource.at("/metadata/annotations");
    let maintained = annotations.and_then(|all| all.get("milvus.io/maintaining")).and_then(Value::as_str);
    (maintained == Some("true")).then(|| "is under maintenance".to_owned())
}

fn trouble(resource: &Resource<'_>) -> Option<String> {
    match resource.text("/status/status") {
        Some("Healthy") => {}
        Some("Stopped") => return Some("is stopped (no replicas)".to_owned()),
        Some("Unhealthy") => {
            let reason = condition(resource, "MilvusReady").map(because).unwrap_or_default();
            return Some(format!("is unhealthy{reason}"));
        }
        Some(other) => return Some(format!("is {}", other.to_lowercase())),
        None => return Some("has not been started yet".to_owned()),
    }
    let down = ["MilvusReady", "StorageReady", "EtcdReady", "MsgStreamReady"]
        .into_iter()
        .find_map(|type_| Some((type_, condition(resource, type_).filter(|condition| is(condition, "False"))?)));
    down.map(|(type_, condition)| format!("is not ready: {type_} is False{}", because(condition)))
}

fn condition<'a>(resource: &Resource<'a>, type_: &str) -> Option<&'a Value> {
    resource.at("/status/conditions")?.as_array()?.iter().find(|condition| condition["type"] == type_)
}

fn is(condition: &Value, status: &str) -> bool {
    condition["status"] == status
}

fn because(condition: &Value) -> String {
    match condition["reason"].as_str() {
        Some(reason) if !reason.is_empty() => format!(" ({reason})"),
        _ => String::new(),
    }
}

/// `milvus.io/<component>-rolling-id` stands on the resource while a component is rolled, and is removed after.
fn rolling_component<'a>(resource: &Resource<'a>) -> Option<&'a str> {
    let labels = resource.at("/metadata/labels")?.as_object()?;
    labels.iter().find_map(|(name, value)| {
        let component = name.strip_prefix("milvus.io/")?.strip_suffix("-rolling-id")?;
        value.as_str().filter(|id| !id.is_empty()).map(|_| component)
    })
}
