//! The OpenAPI document, made from the list of routes and the types of the bodies.

use axum::http::Method;
use schemars::SchemaGenerator;
use serde_json::{Map, Value, json};

use super::body::generator;
use super::routes::Route;
use super::wire::{
    Answer, BackupBrief, BackupSummary, BareAnswer, CreateRequest, Refused, RestoreRequest, RestoreSecondaryRequest,
    RestoreTask, StoppedTask,
};

/// The document.
pub fn document() -> Value {
    let mut generator = generator();
    let mut paths: Map<String, Value> = Map::new();
    for route in Route::ALL {
        let described = operation(route, &mut generator);
        let path = paths.entry(route.path()).or_insert_with(|| json!({}));
        path[route.method().as_str().to_ascii_lowercase()] = described;
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "milvus-backup",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Backs up and restores Milvus. Work that fails is answered with HTTP 200 and a code that is not 0; \
                            a request that is not looked at with an HTTP status and an error.",
        },
        // Relative to this document, so that it holds behind any path of a proxy.
        "servers": [{"url": "../../v1"}],
        "security": [{"token": []}, {}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": generator.take_definitions(true),
        },
    })
}

fn operation(route: Route, generator: &mut SchemaGenerator) -> Value {
    let (tag, summary) = words(route);
    let mut operation = json!({
        "tags": [tag],
        "summary": summary,
        "operationId": route.path().trim_start_matches('/').replace("task", "stop_task"),
        "parameters": parameters(route),
        "responses": responses(route, generator),
    });
    if route.is_open() {
        operation["security"] = json!([]);
    }
    if let Some(schema) = body(route, generator) {
        operation["requestBody"] = json!({"required": true, "content": content(schema)});
    }
    operation
}

fn words(route: Route) -> (&'static str, &'static str) {
    match route {
        Route::Hello => ("Server", "Says that the server is up"),
        Route::Create => ("Backup", "Makes a backup"),
        Route::List => ("Backup", "Lists the backups in the bucket"),
        Route::GetBackup => ("Backup", "Shows a backup by name or id, or how its making goes"),
        Route::Delete => ("Backup", "Removes a backup, finished or not"),
        Route::Restore => ("Restore", "Brings a backup back"),
        Route::RestoreSecondary => ("Restore", "Brings a backup into a replica (not offered: answers code 1)"),
        Route::GetRestore => ("Restore", "Shows how a restore goes"),
        Route::Check => ("Server", "Tries Milvus and the stores"),
        Route::StopTask => ("Server", "Stops a running backup or restore"),
    }
}

/// Query and headers; `*` marks what is required.
fn parameters(route: Route) -> Value {
    let request_id = ("header", "request_id", "Comes back in the answer");
    let listed: &[(&str, &str, &str)] = match route {
        Route::Hello | Route::Check | Route::Restore | Route::RestoreSecondary => &[],
        Route::Create => &[("header", "request_id", "Id of the backup; made where it is left out")],
        Route::List => &[request_id, ("query", "collection_name", "Deprecated: refused")],
        Route::GetBackup => &[
            request_id,
            ("query", "backup_name", "Name of the backup"),
            ("query", "backup_id", "Id of the backup; wins over the name"),
            ("query", "path", "Path of backups in the bucket, in place of the configured one"),
        ],
        Route::Delete => &[request_id, ("query", "backup_name*", "Name of the backup")],
        Route::GetRestore => &[request_id, ("query", "id*", "Id of the restore")],
        Route::StopTask => &[request_id, ("query", "id*", "Id of the restore, or request_id of the create")],
    };
    let parameter = |(place, name, description): &(&str, &str, &str)| {
        json!({
            "in": place,
            "name": name.trim_end_matches('*'),
            "required": name.ends_with('*'),
            "description": description,
            "schema": {"type": "string"},
        })
    };
    listed.iter().map(parameter).collect()
}

fn body(route: Route, generator: &mut SchemaGenerator) -> Option<Value> {
    let schema = match route {
        Route::Create => generator.subschema_for::<CreateRequest>(),
        Route::Restore => generator.subschema_for::<RestoreRequest>(),
        Route::RestoreSecondary => generator.subschema_for::<RestoreSecondaryRequest>(),
        _ => return None,
    };
    Some(schema.to_value())
}

fn responses(route: Route, generator: &mut SchemaGenerator) -> Value {
    let answered = match route {
        Route::Hello | Route::Check => json!({"text/plain": {"schema": {"type": "string"}}}),
        Route::Create | Route::GetBackup => content(generator.subschema_for::<Answer<BackupBrief>>().to_value()),
        Route::List => content(generator.subschema_for::<Answer<Vec<BackupSummary>>>().to_value()),
        Route::Delete => content(generator.subschema_for::<BareAnswer>().to_value()),
        Route::Restore | Route::RestoreSecondary | Route::GetRestore => {
            content(generator.subschema_for::<Answer<RestoreTask>>().to_value())
        }
        Route::StopTask => content(generator.subschema_for::<Answer<StoppedTask>>().to_value()),
    };
    let mut responses = json!({"200": {"description": "Done, begun, or failed with a code", "content": answered}});
    if route == Route::Hello {
        return responses;
    }
    let refused = content(generator.subschema_for::<Refused>().to_value());
    let mut refuse = |status: &str, description: &str| {
        responses[status] = json!({"description": description, "content": refused});
    };
    refuse("401", "The token is missing or another");
    refuse("403", "A web page of another origin asks");
    refuse("503", "Too many requests at once");
    if route.method() == Method::POST {
        refuse("400", "The body is no such request");
        refuse("408", "The body did not arrive in time");
        refuse("413", "The body is too large");
    } else {
        refuse("504", "Milvus or the store took too long");
    }
    if route == Route::Check {
        refuse("500", "Something does not work");
    }
    responses
}

fn content(schema: Value) -> Value {
    json!({"application/json": {"schema": schema}})
}
