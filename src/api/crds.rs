//! The CRDs as YAML files.

use kube::CustomResourceExt;
use serde_json::{Value, json};

use super::{MilvusBackup, MilvusBackupLocation, MilvusRestore};

/// File name and YAML text of every CRD, ready for `kubectl apply`.
pub fn crds() -> Result<Vec<(String, String)>, serde_json::Error> {
    definitions()?
        .into_iter()
        .map(|definition| {
            let name = definition["spec"]["names"]["plural"].as_str().unwrap_or_default();
            Ok((format!("{name}.yaml"), yaml(&definition)?))
        })
        .collect()
}

/// The OpenAPI schema of a kind as the API server gets it, CEL rules included.
pub fn schema_of(kind: &str) -> Result<Option<Value>, serde_json::Error> {
    let mut found = definitions()?.into_iter().find(|definition| definition["spec"]["names"]["kind"] == kind);
    Ok(found.as_mut().map(|definition| definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].take()))
}

fn definitions() -> Result<Vec<Value>, serde_json::Error> {
    [MilvusBackup::crd(), MilvusRestore::crd(), MilvusBackupLocation::crd()]
        .into_iter()
        .map(|definition| {
            let mut definition = serde_json::to_value(definition)?;
            let schema = &mut definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
            // An object that nobody has looked at yet must not count as done (kstatus).
            schema["properties"]["status"]["default"] = json!({"observedGeneration": -1});
            simplify(schema);
            Ok(definition)
        })
        .collect()
}

/// Options are absent or there, never `null`: the API server then drops a `null` before any rule sees it. Bounds are
/// written `1`, not `1.0`.
fn simplify(schema: &mut Value) {
    match schema {
        Value::Number(number) => {
            if let Some(whole) = number.as_f64().filter(|n| n.fract() == 0.0 && n.abs() < 1e15) {
                #[expect(clippy::cast_possible_truncation, reason = "whole and small, checked above")]
                let whole = whole as i64;
                *schema = whole.into();
            }
        }
        Value::Object(map) => {
            if map.get("nullable") == Some(&Value::Bool(true)) {
                map.remove("nullable");
            }
            map.values_mut().for_each(simplify);
        }
        Value::Array(items) => items.iter_mut().for_each(simplify),
        _ => {}
    }
}

fn yaml(definition: &Value) -> Result<String, serde_json::Error> {
    use serde::ser::Error;
    serde_saphyr::to_string(definition).map_err(serde_json::Error::custom)
}
