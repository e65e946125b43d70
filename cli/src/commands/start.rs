//! `minik start`: makes a cluster, repairs it, or finds that nothing is to be done.

use std::time::Duration;

use minik_spec::settings::{
    ContainerRuntime, Cpus, DiskSize, HumanDuration, Memory, NetworkWish, WaitFor,
};
use minik_spec::{Request, SpecError};

use crate::advice;
use crate::cluster::Cluster;
use crate::commands::version::KUBERNETES;
use crate::context::Context;
use crate::extra_config;
use crate::out::{Format, Sign};
use crate::report::Report;

/// Make a cluster, or bring an existing one back
///
/// The same command creates, continues and repairs. Flags that are left out keep what the cluster has;
/// a new cluster takes them from `minik config` and from MINIK_… variables first.
#[derive(clap::Args, Debug)]
pub(crate) struct StartArgs {
    /// Driver of the machines: qemu
    #[arg(short, long, visible_alias = "vm-driver", env = "MINIK_DRIVER")]
    driver: Option<String>,

    /// CPUs of a machine, or `max`
    #[arg(long, env = "MINIK_CPUS", value_name = "NUMBER")]
    cpus: Option<String>,

    /// Memory of a machine, as `2g`, `2048mb` or `max`
    #[arg(short, long, env = "MINIK_MEMORY", value_name = "SIZE")]
    memory: Option<String>,

    /// Disk of a machine, as `20g`; the file grows with use
    #[arg(long, env = "MINIK_DISK_SIZE", value_name = "SIZE")]
    disk_size: Option<String>,

    /// Machines of the cluster
    #[arg(short, long, env = "MINIK_NODES", value_name = "NUMBER")]
    nodes: Option<String>,

    /// How machines are reached: `tap` (their own address, takes rights), `user` (loopback) or `auto`
    #[arg(long, env = "MINIK_NETWORK", value_name = "MODE")]
    network: Option<String>,

    /// Host-only network, written with the host's address in it, as `192.168.70.1/24`
    #[arg(long, env = "MINIK_HOST_ONLY_CIDR", value_name = "CIDR")]
    host_only_cidr: Option<String>,

    /// Manifest of the guest image: http, https or file
    #[arg(long, visible_alias = "iso-url", env = "MINIK_IMAGE_URL", value_name = "URL")]
    guest_image_url: Option<String>,

    /// Version of Kubernetes
    #[arg(long, env = "MINIK_KUBERNETES_VERSION", value_name = "VERSION")]
    kubernetes_version: Option<String>,

    /// What runs containers: containerd
    #[arg(short, long, env = "MINIK_CONTAINER_RUNTIME", value_name = "NAME")]
    container_runtime: Option<String>,

    /// Port of the API server in the machine
    #[arg(long, value_name = "PORT")]
    apiserver_port: Option<u16>,

    /// More names for the API server's certificate
    #[arg(long, visible_alias = "apiserver-name", value_delimiter = ',', value_name = "NAMES")]
    apiserver_names: Option<Vec<String>>,

    /// More addresses for the API server's certificate
    #[arg(long, value_delimiter = ',', value_name = "ADDRESSES")]
    apiserver_ips: Option<Vec<String>>,

    /// A flag of the API server, as `apiserver.audit-policy-file=FILE`; may be given several times
    #[arg(long, value_name = "COMPONENT.KEY=VALUE")]
    extra_config: Vec<String>,

    /// Addresses of services
    #[arg(long, value_name = "CIDR")]
    service_cluster_ip_range: Option<String>,

    /// Domain of the cluster's names
    #[arg(long, value_name = "DOMAIN")]
    dns_domain: Option<String>,

    /// How long certificates are valid
    #[arg(long, value_name = "DURATION")]
    cert_expiration: Option<String>,

    /// What to wait for: apiserver, node_ready, system_pods, default_sa, kubelet, apps_running, all, none
    #[arg(long, value_delimiter = ',', value_name = "PARTS")]
    wait: Option<Vec<String>>,

    /// How long to wait for each machine
    #[arg(long, default_value = "6m", value_name = "DURATION")]
    wait_timeout: String,

    /// Leave kubectl's current context as it is
    #[arg(long)]
    keep_context: bool,

    /// Put the certificates into the kubeconfig instead of naming their files
    #[arg(long)]
    embed_certs: bool,

    /// Print what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,

    /// Fetch and verify the guest image, then stop
    #[arg(long)]
    download_only: bool,

    /// Never open a connection to the outside
    #[arg(long)]
    offline: bool,

    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

pub(crate) fn run(ctx: &Context, args: &StartArgs) -> Result<(), Report> {
    ctx.out.set_format(args.output);
    ctx.out.step(
        Sign::Hello,
        "Initial Minikube Setup",
        0,
        0,
        &format!("minik {}", concat!("v", env!("CARGO_PKG_VERSION"))),
    );
    let request = args.request(ctx)?;
    let plan = crate::cluster::StartPlan {
        request,
        wait: waits(args.wait.as_deref())?,
        wait_timeout: duration("wait-timeout", &args.wait_timeout)?,
        keep_context: args.keep_context,
        embed_certs: args.embed_certs,
        dry_run: args.dry_run,
        download_only: args.download_only,
        offline: args.offline || ctx.config()?.get("offline") == Some("true"),
    };
    let Some(cluster) = Cluster::start(ctx, &plan)? else {
        return Ok(());
    };
    ctx.out.step(
        Sign::Done,
        "Done",
        0,
        0,
        &format!(
            "Done! kubectl is now configured to use \"{}\" cluster and \"default\" namespace by \
             default (Kubernetes {KUBERNETES})",
            cluster.profile()
        ),
    );
    Ok(())
}

impl StartArgs {
    /// Flag or variable, then `minik config`, each in the setting's own form.
    fn request(&self, ctx: &Context) -> Result<Request, Report> {
        let text = |flag: &Option<String>, name| ctx.setting(flag.as_ref(), name);
        Ok(Request {
            driver: text(&self.driver, "driver")?,
            cpus: parsed::<Cpus>(text(&self.cpus, "cpus")?)?,
            memory: parsed::<Memory>(text(&self.memory, "memory")?)?,
            disk_size: parsed::<DiskSize>(text(&self.disk_size, "disk-size")?)?,
            nodes: text(&self.nodes, "nodes")?.map(|n| number("nodes", &n)).transpose()?,
            network: parsed::<NetworkWish>(text(&self.network, "network")?)?,
            host_only_cidr: text(&self.host_only_cidr, "host-only-cidr")?,
            guest_image: text(&self.guest_image_url, "guest-image-url")?,
            kubernetes_version: self.kubernetes_version.clone(),
            container_runtime: parsed::<ContainerRuntime>(self.container_runtime.clone())?,
            api_server_port: self.apiserver_port,
            api_server_names: self.apiserver_names.clone(),
            api_server_ips: self.apiserver_ips.clone(),
            api_server_flags: extra_config::read(&self.extra_config)?,
            service_cidr: self.service_cluster_ip_range.clone(),
            dns_domain: self.dns_domain.clone(),
            cert_expiration: parsed::<HumanDuration>(self.cert_expiration.clone())?,
        })
    }
}

fn parsed<T: std::str::FromStr<Err = SpecError>>(
    text: Option<String>,
) -> Result<Option<T>, Report> {
    text.map(|text| text.parse().map_err(|err| advice::spec(&err))).transpose()
}

fn number(name: &str, text: &str) -> Result<u32, Report> {
    text.parse().map_err(|_| Report::usage(format!("{name}: `{text}` is no whole number")))
}

fn duration(name: &str, text: &str) -> Result<Duration, Report> {
    let parsed: Result<HumanDuration, SpecError> = text.parse();
    parsed.map(|duration| duration.0).map_err(|err| Report::usage(format!("{name}: {err}")))
}

fn waits(parts: Option<&[String]>) -> Result<WaitFor, Report> {
    match parts {
        None => Ok(WaitFor::default()),
        Some(parts) => parts.join(",").parse().map_err(|err| advice::spec(&err)),
    }
}
