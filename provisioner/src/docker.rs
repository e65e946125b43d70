//! `docker-env`: Docker Engine in the guest, over TLS with certificates of its own authority.

use std::path::PathBuf;
use std::time::Duration;

use minik_spec::NodeSpec;

use crate::access::Access;
use crate::certificates::Authorities;
use crate::error::{ProvisionError, Result};
use crate::report::Outcome;
use crate::shell::{Payload, Upload, exec, upload};
use crate::state::{Profile, make_private_folder, write_private};
use crate::tools::Tools;
use crate::work::run;

/// Port of Docker's API over TLS.
pub const DOCKER_PORT: u16 = 2376;

const SERVICE: &str = "docker.service";

/// How long Docker may take to start.
const START: Duration = Duration::from_secs(180);

/// Makes Docker Engine run in a machine; the folder for `DOCKER_CERT_PATH`.
///
/// # Errors
/// [`ProvisionError::NoDocker`] without the Docker layer, or what failed in the guest.
pub fn enable(tools: &Tools<'_>, profile: &Profile, node: &NodeSpec) -> Result<PathBuf> {
    let _lock = tools.lock(profile.name())?;
    let (authorities, _) = Authorities::ensure(&profile.folder.pki(), &profile.spec)?;
    let certificates = authorities.docker(node)?;

    let folder = profile.folder.docker();
    make_private_folder(&folder)?;
    for (name, text) in [
        ("ca.pem", &certificates.authority),
        ("cert.pem", &certificates.client.cert_pem),
        ("key.pem", &certificates.client.key_pem),
    ] {
        write_private(&folder.join(name), text.as_bytes())?;
    }

    let mut shell = Access::new(tools, profile).shell(node)?;
    let file = |name: &str, mode, text: String| Upload {
        path: format!("/etc/docker/{name}"),
        mode,
        payload: Payload::Bytes(text.into_bytes()),
    };
    let files = [
        file("ca.pem", 0o644, certificates.authority),
        file("server-cert.pem", 0o644, certificates.server.cert_pem),
        file("server-key.pem", 0o600, certificates.server.key_pem),
    ];
    let changed = upload(&mut *shell, &node.name, &files)? == Outcome::Changed;
    let known = exec(&mut *shell, &format!("systemctl cat {SERVICE}"), START)?;
    if known.exit != 0 {
        return Err(ProvisionError::NoDocker { profile: profile.name().to_string() });
    }
    let verb = if changed { "restart" } else { "start" };
    let journal = format!("journalctl -u {SERVICE} -n 20 --no-pager -o cat");
    let command = format!("systemctl {verb} {SERVICE} || {{ {journal} >&2; exit 1; }}");
    run(&mut *shell, &node.name, &command, START)?;
    Ok(folder)
}
