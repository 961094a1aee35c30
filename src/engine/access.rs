//! Users, roles and grants, between the server and the backup's metadata, and back into a server that may have some.

use std::collections::BTreeSet;

use super::error::EngineError;
use super::patience::patient;
use crate::manifest::rbac::{Grant, Grantor, Named, PrivilegeGroup, RbacMeta, UserInfo};
use crate::milvus::proto::milvus as wire;
use crate::milvus::{Milvus, Rbac};

/// What a backup records, and a warning where the server keeps the password hashes to itself.
///
/// # Errors
/// The server's.
pub async fn read(milvus: &Milvus) -> Result<(RbacMeta, Option<String>), EngineError> {
    let found = patient(|| milvus.rbac()).await?;
    let warning = (!found.with_hashes && !found.meta.users.is_empty()).then(|| {
        format!(
            "milvus {} does not give password hashes: {} users are recorded with their roles only, and a restore cannot make \
             them anew",
            milvus.version().text,
            found.meta.users.len()
        )
    });
    Ok((to_backup(&found.meta), warning))
}

/// Brings back what the target does not have; what it has stays as it is. Answers warnings.
///
/// # Errors
/// The server's.
pub async fn restore(milvus: &Milvus, recorded: &RbacMeta) -> Result<Vec<String>, EngineError> {
    let there = patient(|| milvus.rbac()).await?;
    let (missing, mut warnings) = missing(&to_wire(recorded), &there.meta);
    if there.with_hashes {
        if missing != wire::RbacMeta::default()
            && let Err(error) = milvus.restore_rbac(&missing).await
        {
            // All or nothing: what an attempt whose answer was lost has made is there now.
            let now: Rbac = patient(|| milvus.rbac()).await?;
            if self::missing(&missing, &now.meta).0 != wire::RbacMeta::default() {
                return Err(error.into());
            }
        }
    } else {
        warnings.extend(one_by_one(milvus, &missing).await?);
    }
    // Roles of users that were there before.
    for (user, role) in memberships(recorded, &there.meta) {
        patient(|| milvus.add_user_to_role(&user, &role)).await?;
    }
    Ok(warnings)
}

async fn one_by_one(milvus: &Milvus, missing: &wire::RbacMeta) -> Result<Vec<String>, EngineError> {
    for role in &missing.roles {
        patient(|| milvus.create_role(&role.name)).await?;
    }
    for grant in &missing.grants {
        patient(|| milvus.grant(grant)).await?;
    }
    let mut warnings: Vec<String> = missing.users.iter().map(|user| not_made(&user.user)).collect();
    warnings.extend(missing.privilege_groups.iter().map(|group| {
        format!("privilege group {} was not restored: milvus {} has none", group.group_name, milvus.version().text)
    }));
    Ok(warnings)
}

fn not_made(user: &str) -> String {
    format!(
        "user {user} was not restored: there is no password hash that this server takes; create it with a password and its roles"
    )
}

/// Pure: what of `recorded` the server does not have. Users without a hash cannot be made: each is a warning.
fn missing(recorded: &wire::RbacMeta, there: &wire::RbacMeta) -> (wire::RbacMeta, Vec<String>) {
    let users: BTreeSet<&str> = there.users.iter().map(|user| user.user.as_str()).collect();
    let mut warnings = Vec::new();
    let mut wanted = Vec::new();
    for user in recorded.users.iter().filter(|user| !users.contains(user.user.as_str())) {
        if user.password.is_empty() {
            warnings.push(not_made(&user.user));
        } else {
            wanted.push(user.clone());
        }
    }
    let missing = wire::RbacMeta {
        users: wanted,
        roles: recorded.roles.iter().filter(|role| !there.roles.contains(role)).cloned().collect(),
        // Who gave a privilege differs between servers and means nothing.
        grants: recorded
            .grants
            .iter()
            .filter(|grant| !there.grants.iter().any(|other| same_grant(grant, other)))
            .cloned()
            .collect(),
        privilege_groups: recorded
            .privilege_groups
            .iter()
            .filter(|group| !there.privilege_groups.iter().any(|other| other.group_name == group.group_name))
            .cloned()
            .collect(),
    };
    (missing, warnings)
}

fn same_grant(one: &wire::GrantEntity, other: &wire::GrantEntity) -> bool {
    let privilege = |grant: &wire::GrantEntity| grant.grantor.as_ref().and_then(|grantor| grantor.privilege.clone());
    one.role == other.role
        && one.object == other.object
        && one.object_name == other.object_name
        && one.db_name == other.db_name
        && privilege(one) == privilege(other)
}

/// Pure: recorded roles that users which exist already do not have.
fn memberships(recorded: &RbacMeta, there: &wire::RbacMeta) -> Vec<(String, String)> {
    let mut wanted = Vec::new();
    for user in &recorded.users {
        let Some(existing) = there.users.iter().find(|existing| existing.user == user.user) else { continue };
        for role in &user.roles {
            if !existing.roles.iter().any(|has| has.name == role.name) {
                wanted.push((user.user.clone(), role.name.clone()));
            }
        }
    }
    wanted
}

fn to_backup(meta: &wire::RbacMeta) -> RbacMeta {
    let named = |name: &String| Named { name: name.clone() };
    let role = |role: &wire::RoleEntity| named(&role.name);
    let entity = |entity: &wire::NamedEntity| named(&entity.name);
    RbacMeta {
        users: meta
            .users
            .iter()
            .map(|user| UserInfo {
                user: user.user.clone(),
                password: user.password.clone(),
                roles: user.roles.iter().map(role).collect(),
            })
            .collect(),
        roles: meta.roles.iter().map(role).collect(),
        grants: meta
            .grants
            .iter()
            .map(|grant| Grant {
                role: grant.role.as_ref().map(role),
                object: grant.object.as_ref().map(entity),
                object_name: grant.object_name.clone(),
                grantor: grant.grantor.as_ref().map(|grantor| Grantor {
                    user: grantor.user.as_ref().map(entity),
                    privilege: grantor.privilege.as_ref().map(entity),
                }),
                db_name: grant.db_name.clone(),
            })
            .collect(),
        privilege_groups: meta
            .privilege_groups
            .iter()
            .map(|group| PrivilegeGroup {
                group_name: group.group_name.clone(),
                privileges: group.privileges.iter().map(entity).collect(),
            })
            .collect(),
    }
}

fn to_wire(meta: &RbacMeta) -> wire::RbacMeta {
    let role = |role: &Named| wire::RoleEntity { name: role.name.clone() };
    let entity = |entity: &Named| wire::NamedEntity { name: entity.name.clone() };
    wire::RbacMeta {
        users: meta
            .users
            .iter()
            .map(|user| wire::UserInfo {
                user: user.user.clone(),
                password: user.password.clone(),
                roles: user.roles.iter().map(role).collect(),
            })
            .collect(),
        roles: meta.roles.iter().map(role).collect(),
        grants: meta
            .grants
            .iter()
            .map(|grant| wire::GrantEntity {
                role: grant.role.as_ref().map(role),
                object: grant.object.as_ref().map(entity),
                object_name: grant.object_name.clone(),
                grantor: grant.grantor.as_ref().map(|grantor| wire::GrantorEntity {
                    user: grantor.user.as_ref().map(entity),
                    privilege: grantor.privilege.as_ref().map(entity),
                }),
                db_name: grant.db_name.clone(),
            })
            .collect(),
        privilege_groups: meta
            .privilege_groups
            .iter()
            .map(|group| wire::PrivilegeGroupInfo {
                group_name: group.group_name.clone(),
                privileges: group.privileges.iter().map(entity).collect(),
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str, password: &str, roles: &[&str]) -> UserInfo {
        let roles = roles.iter().map(|role| Named { name: (*role).into() }).collect();
        UserInfo { user: name.into(), password: password.into(), roles }
    }

    #[test]
    fn metadata_survives_the_way_there_and_back() {
        let named = |name: &str| Some(Named { name: name.into() });
        let recorded = RbacMeta {
            users: vec![user("ann", "$2a$10$hash", &["reader"])],
            roles: vec![Named { name: "reader".into() }],
            grants: vec![Grant {
                role: named("reader"),
                object: named("Collection"),
                object_name: "docs".into(),
                grantor: Some(Grantor { user: named("root"), privilege: named("Query") }),
                db_name: "db1".into(),
            }],
            privilege_groups: vec![PrivilegeGroup { group_name: "g".into(), privileges: vec![Named::default()] }],
        };
        assert_eq!(to_backup(&to_wire(&recorded)), recorded);
    }

    #[test]
    fn what_is_there_is_not_sent_again_and_a_user_without_a_hash_is_a_warning() {
        let recorded = RbacMeta {
            users: vec![user("ann", "hash", &[]), user("bob", "hash", &["reader"]), user("cid", "", &[])],
            roles: vec![Named { name: "reader".into() }, Named { name: "writer".into() }],
            ..RbacMeta::default()
        };
        let there = wire::RbacMeta {
            users: vec![wire::UserInfo { user: "bob".into(), ..Default::default() }],
            roles: vec![wire::RoleEntity { name: "reader".into() }],
            ..Default::default()
        };
        let (missing, warnings) = missing(&to_wire(&recorded), &there);
        assert_eq!(missing.users.iter().map(|user| user.user.as_str()).collect::<Vec<_>>(), ["ann"]);
        assert_eq!(missing.roles, [wire::RoleEntity { name: "writer".into() }]);
        assert!(warnings.len() == 1 && warnings[0].contains("cid"), "{warnings:?}");
        assert_eq!(memberships(&recorded, &there), [("bob".to_owned(), "reader".to_owned())]);
    }
}
