//! Who a guest is to be, from the machine's plan and keys.

use std::time::{Duration, SystemTime};

use minik_driver::MachineSpec;
use minik_image::SeedIdentity;
use sha2::{Digest, Sha256};

use crate::shell::SshKey;

/// The identity of one machine, with the time as it is now.
pub(crate) fn identity(
    machine: &MachineSpec,
    authorized: &SshKey,
    host_key: &SshKey,
    now: SystemTime,
) -> SeedIdentity {
    let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let plan = &machine.network;
    let id = machine_id(host_key);
    SeedIdentity {
        instance_id: id.clone(),
        hostname: machine.name.clone(),
        authorized_keys: vec![authorized.public.clone()],
        host_key_private: host_key.private.clone(),
        host_key_public: host_key.public.clone(),
        machine_id: id,
        time_unix_ms: i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX),
        nat_mac: Some(plan.mac_nat.to_string()),
        host_only: Some((
            plan.mac_hostonly.to_string(),
            format!("{}/{}", plan.address, plan.cidr.prefix()),
        )),
    }
}

/// 32 hex digits that are the machine's own, new with each newly made machine: from its host key.
fn machine_id(host_key: &SshKey) -> String {
    hex::encode(&Sha256::digest(host_key.public_bare())[..16])
}
