//! Advice for what the provisioner could not do, and for what it was asked.

use minik_provisioner::ProvisionError;
use minik_provisioner::shell::SshError;
use minik_spec::SpecError;

use crate::exit::Exit;
use crate::report::{Report, chain};

/// Id, exit code and advice of a provisioner's error, with what was being done around it.
pub(crate) fn provision(err: &ProvisionError) -> Report {
    let mut report = root(err.root());
    if matches!(err, ProvisionError::During { .. }) {
        report.message = chain(err);
    }
    report
}

fn root(err: &ProvisionError) -> Report {
    use ProvisionError as E;
    let report = |id, exit| Report::of(id, exit, err);
    match err {
        E::NoHome => report("HOST_HOME", Exit::HOST_ERROR).advise("set HOME or MINIK_HOME"),
        E::UnsafeFolder { path, .. } => report("HOST_HOME_PERMISSION", Exit::HOST_PERMISSION)
            .advise(format!("look at it: `ls -ld {}`", path.display())),
        E::State { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
            report("HOST_HOME_PERMISSION", Exit::HOST_PERMISSION)
                .advise("files there may belong to another user, as after `sudo minik`")
        }
        E::State { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
            report("RSRC_HOST_STORAGE", Exit::STORAGE).advise("make room on that file system")
        }
        E::State { .. } => report("HOST_STATE", Exit::HOST_ERROR),
        E::Busy { .. } => report("HOST_PROFILE_BUSY", Exit::HOST_CONFLICT)
            .advise("wait until it has ended, or end it; nothing was changed"),
        E::ProfileNotFound { name } => {
            let flag = if name == "minik" { String::new() } else { format!(" -p {name}") };
            report("GUEST_PROFILE_NOT_FOUND", Exit::GUEST_NOT_FOUND)
                .advise(format!("make it: `minik start{flag}`"))
                .advise("`minik profile list` shows all")
        }
        E::NodeNotFound { .. } => report("GUEST_NODE_RETRIEVE", Exit::GUEST_NOT_FOUND)
            .advise("`minik node list` shows all"),
        E::IsControlPlane { .. } => report("GUEST_NODE_DELETE", Exit::PROGRAM_CONFLICT)
            .advise("`minik delete` removes the whole cluster"),
        E::NotRunning { .. } => {
            report("GUEST_NOT_RUNNING", Exit::GUEST_NOT_RUNNING).advise("run `minik start`")
        }
        E::Spec(err) => spec(err),
        E::Driver(err) => super::driver(err),
        E::Cidr(refused) => super::driver::cidr(refused),
        E::Resources(refused) => super::driver::resources(refused),
        E::Image(err) => super::image(err),
        E::Pki(_) => report("HOST_CERTIFICATES", Exit::HOST_ERROR),
        E::Config(_) => report("HOST_NODE_FILE", Exit::PROGRAM_ERROR),
        E::Ssh(err) => ssh(err),
        E::Kubeconfig { path, .. } => report("HOST_KUBECONFIG", Exit::CONFIG)
            .advise(format!("mend {} by hand, or set KUBECONFIG to another file", path.display())),
        E::NodeBinaryMissing { .. } => report("HOST_NODE_BINARY", Exit::PROGRAM_ERROR)
            .advise("build it: `make build`, or name it: MINIK_NODE_BINARY=FILE"),
        E::Guest { .. } | E::Answer { .. } => report("GUEST_COMMAND", Exit::GUEST_ERROR).advise(
            "see `minik logs`, then run the command again: it goes on where this one ended",
        ),
        E::WrongGuest { .. } => report("GUEST_WRONG", Exit::GUEST_ERROR)
            .advise("another machine has taken this address: `minik stop`, then `minik start`"),
        E::NotReady { .. } => report("K8S_NOT_READY", Exit::CONTROL_PLANE_TIMEOUT)
            .advise("see `minik logs`; `minik start` waits again"),
        E::Archive { .. } => report("MK_IMAGE_ARCHIVE", Exit::USAGE)
            .advise("take an archive of `docker save`, or an OCI layout"),
        E::ImageNotFound { .. } => {
            report("MK_IMAGE_NOT_FOUND", Exit::NOT_FOUND).advise("`minik image ls` shows all")
        }
        E::NoDocker { .. } => report("ENV_DOCKER_MISSING", Exit::GUEST_NOT_FOUND)
            .advise("start with a guest image that has the Docker layer"),
        E::During { source, .. } => root(source),
    }
}

/// Id, exit code and advice for settings that cannot be used.
pub(crate) fn spec(err: &SpecError) -> Report {
    let report = |id, exit| Report::of(id, exit, err);
    match err {
        SpecError::Setting { setting, .. } => match *setting {
            "memory" => report("RSRC_MEMORY_FORM", Exit::USAGE).advise("write it as 2g or 2048mb"),
            "cpus" => report("RSRC_CPUS_FORM", Exit::USAGE).advise("write a number, or `max`"),
            "disk-size" => report("RSRC_DISK_FORM", Exit::USAGE).advise("write it as 20g"),
            "kubernetes-version" => report("K8S_VERSION_UNSUPPORTED", Exit::UNSUPPORTED)
                .advise("leave `--kubernetes-version` out"),
            "container-runtime" => report("RT_UNSUPPORTED", Exit::UNSUPPORTED)
                .advise("leave `--container-runtime` out: containerd runs containers"),
            "extra-config" => report("MK_EXTRA_CONFIG", Exit::USAGE)
                .advise("nothing was changed; mend the value or its file and start again"),
            _ => report("MK_USAGE", Exit::USAGE),
        },
        SpecError::NeedsDelete { profile, .. } => {
            let flag = if profile == "minik" { String::new() } else { format!(" -p {profile}") };
            report("GUEST_NEEDS_DELETE", Exit::PROGRAM_CONFLICT)
                .advise(format!("keep the values it has, or `minik delete{flag}` and start anew"))
        }
        SpecError::TooNew { .. } => {
            report("HOST_PROFILE_TOO_NEW", Exit::CONFIG).advise("use the newer minik that made it")
        }
        SpecError::Malformed { .. } => report("HOST_PROFILE_DAMAGED", Exit::CONFIG)
            .advise("`minik delete` removes what is left of the cluster"),
    }
}

fn ssh(err: &SshError) -> Report {
    let report = |id, exit| Report::of(id, exit, err);
    match err {
        SshError::Unreachable { .. } => report("GUEST_SSH_UNREACHABLE", Exit::GUEST_TIMEOUT)
            .advise("see `minik logs`: the console tells how far the guest came"),
        SshError::WrongHostKey { .. } => report("GUEST_SSH_HOST_KEY", Exit::GUEST_CERT)
            .advise("something else answers at this address; nothing was sent to it"),
        SshError::Refused { .. } => report("GUEST_SSH_KEY", Exit::GUEST_CERT)
            .advise("`minik delete` and `minik start` give the machine a new key"),
        SshError::Broken { .. } => report("GUEST_SSH_BROKEN", Exit::GUEST_ERROR)
            .advise("run the command again: it goes on where this one ended"),
        SshError::NotWritten { .. } => report("GUEST_WRITE", Exit::GUEST_ERROR)
            .advise("the disk of the machine may be full: `minik ssh -- df -h`"),
        SshError::BadKey { .. } => report("HOST_SSH_KEY", Exit::HOST_ERROR)
            .advise("`minik delete` removes the damaged key with its cluster"),
    }
}
