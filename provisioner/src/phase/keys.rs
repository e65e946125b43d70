//! Everything secret that is made on this host: SSH keys, authorities, the user's certificate.

use std::path::Path;

use crate::certificates::Authorities;
use crate::error::Result;
use crate::report::Outcome;
use crate::shell::{SshKey, known_hosts_line};
use crate::state::{Profile, make_private_folder, read_optional, write_private};
use crate::work::Work;

pub(crate) fn run(work: &mut Work<'_>) -> Result<Outcome> {
    let profile = &work.profile;
    user_key(profile)?;
    let mut known_hosts = String::new();
    for node in &profile.spec.nodes {
        known_hosts += &known_hosts_line(&node.name, &host_key(profile, &node.name)?.public);
    }
    write_private(&profile.folder.known_hosts(), known_hosts.as_bytes())?;

    let (authorities, outcome) = Authorities::ensure(&profile.folder.pki(), &profile.spec)?;
    authorities.admin()?;
    work.authorities = Some(authorities);
    Ok(outcome)
}

/// The key pair we log in with.
pub(crate) fn user_key(profile: &Profile) -> Result<SshKey> {
    key(&profile.folder.ssh_key(), &format!("minik {}", profile.name()))
}

/// The host key of a machine; made here, given to it in its seed, and expected of it ever after.
pub(crate) fn host_key(profile: &Profile, machine: &str) -> Result<SshKey> {
    key(&profile.folder.host_key(machine), machine)
}

fn key(path: &Path, comment: &str) -> Result<SshKey> {
    if let Some(private) = read_optional(path)? {
        return Ok(SshKey::from_private(&private)?);
    }
    if let Some(folder) = path.parent() {
        make_private_folder(folder)?;
    }
    let key = SshKey::generate(comment)?;
    write_private(path, key.private.as_bytes())?;
    write_private(&path.with_extension("pub"), format!("{}\n", key.public).as_bytes())?;
    Ok(key)
}
