//! Users, roles and grants as the Go tool stores them. Source: milvus-backup.md 3.3, RBACMeta.

use serde::{Deserialize, Serialize};

use super::go_json::is_zero;

/// All access rules of a server.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RbacMeta {
    /// Users with their password hashes.
    #[serde(skip_serializing_if = "is_zero")]
    pub users: Vec<UserInfo>,
    /// Roles.
    #[serde(skip_serializing_if = "is_zero")]
    pub roles: Vec<Named>,
    /// What a role may do.
    #[serde(skip_serializing_if = "is_zero")]
    pub grants: Vec<Grant>,
    /// Named sets of privileges.
    #[serde(skip_serializing_if = "is_zero")]
    pub privilege_groups: Vec<PrivilegeGroup>,
}

/// Anything that is only a name: a role, a user, an object, a privilege.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Named {
    /// The name.
    #[serde(skip_serializing_if = "is_zero")]
    pub name: String,
}

/// A user. Debug output leaves the password hash out.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct UserInfo {
    /// Log-in name.
    #[serde(skip_serializing_if = "is_zero")]
    pub user: String,
    /// Password hash as the server gave it.
    #[serde(skip_serializing_if = "is_zero")]
    pub password: String,
    /// Roles of the user.
    #[serde(skip_serializing_if = "is_zero")]
    pub roles: Vec<Named>,
}

impl std::fmt::Debug for UserInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserInfo").field("user", &self.user).field("roles", &self.roles).finish_non_exhaustive()
    }
}

/// One privilege of one role.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Grant {
    /// Who may.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Named>,
    /// Kind of object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<Named>,
    /// Name of the object, `*` for all.
    #[serde(skip_serializing_if = "is_zero")]
    pub object_name: String,
    /// Who gave it, and what.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grantor: Option<Grantor>,
    /// Database, `*` for all.
    #[serde(skip_serializing_if = "is_zero")]
    pub db_name: String,
}

/// Giver and content of a grant.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Grantor {
    /// The giver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<Named>,
    /// The privilege.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub privilege: Option<Named>,
}

/// A named set of privileges.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PrivilegeGroup {
    /// Name of the set.
    #[serde(skip_serializing_if = "is_zero")]
    pub group_name: String,
    /// Its privileges.
    #[serde(skip_serializing_if = "is_zero")]
    pub privileges: Vec<Named>,
}
