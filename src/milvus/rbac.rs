//! Users, roles and grants: in one call from 2.4.10 on, one by one before.

use super::call::Call;
use super::proto::milvus as wire;
use super::{Milvus, MilvusError};

/// Roles every server has.
const BUILT_IN_ROLES: [&str; 2] = ["admin", "public"];
/// User every server has.
const BUILT_IN_USER: &str = "root";

/// Everything about access.
#[derive(Clone, Default, PartialEq)]
pub struct Rbac {
    /// Users, roles, grants and groups of privileges. Passwords are hashes; empty where the server gives none.
    pub meta: wire::RbacMeta,
    /// Whether users have their password hashes.
    pub with_hashes: bool,
}

/// Without the hashes.
impl std::fmt::Debug for Rbac {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rbac")
            .field("users", &self.meta.users.len())
            .field("roles", &self.meta.roles)
            .field("with_hashes", &self.with_hashes)
            .finish_non_exhaustive()
    }
}

impl Milvus {
    /// Users, roles and grants of the whole cluster without the built-in ones.
    pub async fn rbac(&self) -> Result<Rbac, MilvusError> {
        let call = Call::server("BackupRBAC");
        let answer =
            self.session.call(call, wire::BackupRbacRequest {}, |mut c, r| async move { c.backup_rbac(r).await }).await;
        match answer {
            Ok(answer) => Ok(Rbac { meta: answer.rbac_meta.unwrap_or_default(), with_hashes: true }),
            Err(error) if error.is_unimplemented() => self.rbac_one_by_one().await,
            Err(error) => Err(error),
        }
    }

    /// The older calls (milvus-wire.md 2.10).
    async fn rbac_one_by_one(&self) -> Result<Rbac, MilvusError> {
        let roles = self
            .session
            .call(Call::server("SelectRole"), wire::SelectRoleRequest::default(), |mut c, r| async move {
                c.select_role(r).await
            })
            .await?;
        let built_in = |name: &str| BUILT_IN_ROLES.contains(&name);
        let roles: Vec<wire::RoleEntity> = roles.results.into_iter().filter_map(|found| found.role).collect();
        let mut meta = wire::RbacMeta {
            roles: roles.into_iter().filter(|role| !built_in(&role.name)).collect(),
            ..wire::RbacMeta::default()
        };
        let users = self
            .session
            .call(
                Call::server("SelectUser"),
                wire::SelectUserRequest { user: None, include_role_info: true },
                |mut c, r| async move { c.select_user(r).await },
            )
            .await?;
        meta.users = users
            .results
            .into_iter()
            .filter_map(|found| Some((found.user?.name, found.roles)))
            .filter(|(user, _)| user != BUILT_IN_USER)
            .map(|(user, roles)| wire::UserInfo { user, password: String::new(), roles })
            .collect();
        for role in &meta.roles {
            let call = Call::server("SelectGrant").about(format!("role {}", role.name));
            let entity = wire::GrantEntity {
                role: Some(role.clone()),
                // Of all databases; without it, of the current one.
                db_name: "*".to_owned(),
                ..wire::GrantEntity::default()
            };
            let request = wire::SelectGrantRequest { entity: Some(entity) };
            match self.session.call(call, request, |mut c, r| async move { c.select_grant(r).await }).await {
                Ok(answer) => meta.grants.extend(answer.entities),
                // A role without grants is an error of the older numbering on some servers.
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Rbac { meta, with_hashes: false })
    }

    /// Makes users, roles, grants and groups in one call: all or nothing. Refused where any of them exists. Sent once.
    pub async fn restore_rbac(&self, meta: &wire::RbacMeta) -> Result<(), MilvusError> {
        let call = Call::server("RestoreRBAC").once();
        let request = wire::RestoreRbacRequest { rbac_meta: Some(meta.clone()) };
        self.session.call(call, request, |mut c, r| async move { c.restore_rbac(r).await }).await?;
        Ok(())
    }

    /// Makes a role.
    pub async fn create_role(&self, role: &str) -> Result<(), MilvusError> {
        let call = Call::server("CreateRole").about(format!("role {role}"));
        let request = wire::CreateRoleRequest { entity: Some(wire::RoleEntity { name: role.to_owned() }) };
        match self.session.call(call, request, |mut c, r| async move { c.create_role(r).await }).await {
            Err(error) if error.is_already_exists() => Ok(()),
            answer => answer.map(drop),
        }
    }

    /// Gives a role to a user.
    pub async fn add_user_to_role(&self, user: &str, role: &str) -> Result<(), MilvusError> {
        let call = Call::server("OperateUserRole").about(format!("user {user} and role {role}"));
        let request = wire::OperateUserRoleRequest { username: user.to_owned(), role_name: role.to_owned(), r#type: 0 };
        self.session.call(call, request, |mut c, r| async move { c.operate_user_role(r).await }).await?;
        Ok(())
    }

    /// Gives a privilege to a role; one it has is fine.
    pub async fn grant(&self, grant: &wire::GrantEntity) -> Result<(), MilvusError> {
        let role = grant.role.as_ref().map_or("", |role| role.name.as_str());
        let call = Call::database("OperatePrivilege", &grant.db_name)
            .about(format!("role {role} on {:?} in database {:?}", grant.object_name, grant.db_name));
        let request = wire::OperatePrivilegeRequest { entity: Some(grant.clone()), r#type: 0 };
        match self.session.call(call, request, |mut c, r| async move { c.operate_privilege(r).await }).await {
            Err(error) if error.is_already_exists() => Ok(()),
            answer => answer.map(drop),
        }
    }
}
