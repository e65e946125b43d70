//! The cluster's entry in the user's kubeconfig.

use minik_pki::{Credentials, Entry, Pem};

use crate::certificates::Authorities;
use crate::error::Result;
use crate::report::Outcome;
use crate::state::{Profile, read_optional, write_private};
use crate::tools::Tools;
use crate::work::Work;

pub(crate) fn run(work: &mut Work<'_>) -> Result<Outcome> {
    let how = EntryOptions {
        embed_certs: work.options.embed_certs,
        switch: !work.options.keep_context,
        namespace: work.options.namespace.clone(),
    };
    let written = write(work.tools, &work.profile, work.authorities(), &how)?;
    work.context_switched = how.switch;
    work.api_url = written.url;
    Ok(if written.changed { Outcome::Changed } else { Outcome::Unchanged })
}

/// How the entry is written.
pub(crate) struct EntryOptions {
    pub(crate) embed_certs: bool,
    /// Make it the current context.
    pub(crate) switch: bool,
    pub(crate) namespace: Option<String>,
}

/// What was written.
pub(crate) struct Written {
    pub(crate) url: String,
    pub(crate) changed: bool,
}

/// Writes the entry, and remembers the context that was current before.
pub(crate) fn write(
    tools: &Tools<'_>,
    profile: &Profile,
    authorities: &Authorities,
    how: &EntryOptions,
) -> Result<Written> {
    let admin = authorities.admin()?;
    let url = api_url(tools, profile)?;
    let folder = profile.folder.pki();
    let pem = |name: &str, text: &str| match how.embed_certs {
        true => Pem::Text(text.to_owned()),
        false => Pem::File(folder.join(name).to_string_lossy().into_owned()),
    };
    let entry = Entry {
        name: profile.name().to_string(),
        server: url.clone(),
        credentials: Credentials {
            authority: pem("ca.crt", authorities.cluster_pem()),
            certificate: pem("admin.crt", &admin.cert_pem),
            key: pem("admin.key", &admin.key_pem),
        },
        namespace: how.namespace.clone(),
    };
    let put = tools.kubeconfig.put(&entry, how.switch)?;
    if let Some(previous) = &put.replaced {
        write_private(&profile.folder.path().join(PREVIOUS), previous.as_bytes())?;
    }
    Ok(Written { url, changed: put.changed })
}

/// File with the name of the context that was current before ours.
const PREVIOUS: &str = "previous-context";

/// The context that was current before ours became it.
pub(crate) fn previous_context(profile: &Profile) -> Result<Option<String>> {
    let text = read_optional(&profile.folder.path().join(PREVIOUS))?;
    Ok(text.map(|text| text.trim().to_owned()).filter(|name| !name.is_empty()))
}

/// Where programs on this host reach the API server.
pub(crate) fn api_url(tools: &Tools<'_>, profile: &Profile) -> Result<String> {
    let node = profile.spec.control_plane();
    let machine = profile.machine(node).ok_or_else(|| crate::ProvisionError::NotRunning {
        machine: node.name.clone(),
        state: minik_driver::MachineState::Nonexistent,
    })?;
    let port = profile.spec.api_server.port;
    Ok(format!("https://{}", tools.driver.endpoint(&machine, port)?))
}
