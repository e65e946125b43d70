//! One cluster as commands see it: the provisioner's verbs with this host's driver, images and output.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use minik_driver::{Driver, Host as _, MachineState, RealHost, Stopped};
use minik_image::TrustedKeys;
use minik_provisioner::shell::{QUICK, Ssh2, exec};
use minik_provisioner::state::Profile;
use minik_provisioner::status::{self, NodeStatus};
use minik_provisioner::{
    Access, GuestImages, KubeconfigFiles, NodeBinary, ProvisionError, StartOptions, Tools, phases,
};
use minik_spec::settings::{ProfileName, WaitFor};
use minik_spec::{NodeSpec, Request};

use crate::advice;
use crate::commands::status::overall;
use crate::context::Context;
use crate::drivers;
use crate::exit::Exit;
use crate::kube::{Api, Credentials};
use crate::out::Sign;
use crate::progress::{Steps, Watcher};
use crate::report::Report;

/// How long a machine may take to power off before it is ended by force.
const STOP_GRACE: Duration = Duration::from_secs(60);

/// What `minik start` was told.
pub(crate) struct StartPlan {
    pub(crate) request: Request,
    pub(crate) wait: WaitFor,
    pub(crate) wait_timeout: Duration,
    pub(crate) keep_context: bool,
    pub(crate) embed_certs: bool,
    pub(crate) dry_run: bool,
    pub(crate) download_only: bool,
    pub(crate) offline: bool,
}

/// A line of `minik profile list`.
#[derive(Debug)]
pub(crate) struct Overview {
    pub(crate) name: String,
    pub(crate) driver: String,
    pub(crate) runtime: String,
    pub(crate) address: String,
    pub(crate) version: String,
    pub(crate) status: &'static str,
    pub(crate) nodes: usize,
    pub(crate) context_active: bool,
}

/// A container image that a node has.
#[derive(Debug)]
pub(crate) struct ImageOnNode {
    pub(crate) name: String,
    pub(crate) digest: String,
    pub(crate) size: String,
}

/// What the provisioner's verbs need, owned for one command.
struct Workshop<'a> {
    ctx: &'a Context,
    driver: Box<dyn Driver>,
    kubeconfig: KubeconfigFiles,
    node_binary: NodeBinary,
    keys: TrustedKeys,
    offline: bool,
}

impl<'a> Workshop<'a> {
    fn new(ctx: &'a Context, driver: &str, offline: bool) -> Result<Workshop<'a>, Report> {
        let one_more = std::env::var("MINIK_IMAGE_KEY").ok().filter(|key| !key.is_empty());
        Ok(Workshop {
            ctx,
            driver: drivers::named(ctx, driver)?,
            kubeconfig: KubeconfigFiles::from_env().map_err(told)?,
            node_binary: NodeBinary::from_env(crate::bundle::NODE, &ctx.folders.cache),
            keys: TrustedKeys::load(&ctx.folders.data.join("keys"), one_more.as_deref())
                .map_err(|err| advice::image(&err))?,
            offline,
        })
    }

    /// Does one thing with the provisioner's tools.
    fn work<T>(
        &self,
        act: impl FnOnce(&Tools<'_>) -> Result<T, ProvisionError>,
    ) -> Result<T, Report> {
        let watcher = Watcher::new(&self.ctx.out);
        let images = GuestImages {
            cache: self.ctx.folders.cache.join("images"),
            keys: self.keys.clone(),
            // The request has taken it from flag, environment and settings already.
            default_source: None,
            offline: self.offline,
            with_docker: true,
            progress: &watcher,
        };
        act(&Tools {
            folders: &self.ctx.folders,
            driver: self.driver.as_ref(),
            host: &RealHost,
            images: &images,
            connect: &Ssh2,
            reporter: &Steps { out: &self.ctx.out },
            kubeconfig: &self.kubeconfig,
            node_binary: &self.node_binary,
            lock_patience: self.ctx.lock_patience,
        })
        .map_err(told)
    }
}

/// A cluster that has a profile.
pub(crate) struct Cluster<'a> {
    workshop: Workshop<'a>,
    profile: Profile,
}

impl<'a> Cluster<'a> {
    /// Names of all clusters of this user.
    pub(crate) fn names(ctx: &Context) -> Result<Vec<String>, Report> {
        let names = ctx.folders.profile_names().map_err(|err| advice::provision(&err))?;
        Ok(names.iter().map(ToString::to_string).collect())
    }

    /// The cluster that the command means; an error when there is none.
    pub(crate) fn open(ctx: &'a Context) -> Result<Cluster<'a>, Report> {
        Cluster::open_named(ctx, &ctx.profile()?)
    }

    pub(crate) fn open_named(ctx: &'a Context, name: &str) -> Result<Cluster<'a>, Report> {
        let profile = Profile::open(&ctx.folders, &parsed(name)?).map_err(told)?;
        let workshop = Workshop::new(ctx, &profile.spec.driver, false)?;
        Ok(Cluster { workshop, profile })
    }

    /// Makes or repairs a cluster; none where that was not to be done (`--dry-run`).
    pub(crate) fn start(ctx: &'a Context, plan: &StartPlan) -> Result<Option<Cluster<'a>>, Report> {
        let name = parsed(&ctx.profile()?)?;
        let existing = match Profile::find(&ctx.folders, &name) {
            Ok(existing) => existing.map(|profile| profile.spec),
            Err(err) => return Err(told(err)),
        };
        let mut request = plan.request.clone();
        if let Some(driver) = &request.driver {
            request.driver = Some(drivers::canonical(driver)?.to_owned());
        }
        let driver = request
            .driver
            .clone()
            .or_else(|| existing.as_ref().map(|spec| spec.driver.clone()))
            .unwrap_or_else(|| drivers::DEFAULT.to_owned());
        let workshop = Workshop::new(ctx, &driver, plan.offline)?;
        if plan.dry_run || plan.download_only {
            let host = RealHost.resources(&ctx.folders.data).map_err(|err| advice::driver(&err))?;
            let resolved =
                minik_spec::resolve(&name, &request, existing.as_ref(), &host, drivers::DEFAULT)
                    .map_err(|err| advice::spec(&err))?;
            if plan.download_only {
                let image = workshop.work(|tools| tools.images.boot(&resolved.spec.image))?;
                ctx.out.info(Sign::Done, &format!("{} is here and verified", image.id));
                return Ok(None);
            }
            let steps = phases::plan(&resolved.spec, plan.wait, plan.wait_timeout);
            for (number, step) in steps.iter().enumerate() {
                if ctx.out.is_json() {
                    ctx.out.step(Sign::Note, step.step, number + 1, steps.len(), &step.message);
                } else {
                    ctx.out.data(format!("{:<16} {}", step.id, step.message));
                }
            }
            return Ok(None);
        }
        let options = StartOptions {
            default_driver: drivers::DEFAULT.to_owned(),
            wait: plan.wait,
            wait_timeout: plan.wait_timeout,
            keep_context: plan.keep_context,
            embed_certs: plan.embed_certs,
            namespace: None,
        };
        let started =
            workshop.work(|tools| minik_provisioner::start(tools, &name, &request, &options))?;
        if !started.acted {
            ctx.out.info(Sign::Check, "Everything ran already as asked; nothing was changed");
        }
        Ok(Some(Cluster { profile: started.profile, workshop }))
    }

    /// Takes a cluster away; false when there was none.
    pub(crate) fn delete(ctx: &Context, name: &str) -> Result<bool, Report> {
        let name = parsed(name)?;
        // A damaged profile can be deleted, too: every driver's leftovers are found by their folders.
        let driver = match Profile::find(&ctx.folders, &name) {
            Ok(Some(profile)) => profile.spec.driver,
            Ok(None) | Err(_) => drivers::DEFAULT.to_owned(),
        };
        let workshop = Workshop::new(ctx, &driver, true)?;
        let deleted = workshop.work(|tools| minik_provisioner::delete(tools, &name))?;
        Ok(deleted.existed)
    }

    /// Powers the machines off; how many were running.
    pub(crate) fn stop(&self, keep_context: bool) -> Result<usize, Report> {
        let name = self.profile.name();
        let stopped = self
            .workshop
            .work(|tools| minik_provisioner::stop(tools, name, STOP_GRACE, keep_context))?;
        Ok(stopped.iter().filter(|machine| machine.how != Stopped::Already).count())
    }

    pub(crate) fn profile(&self) -> &str {
        self.profile.name().as_str()
    }

    pub(crate) fn machines(&self) -> &[NodeSpec] {
        &self.profile.spec.nodes
    }

    /// The machine of that name, or the control plane.
    pub(crate) fn machine(&self, name: Option<&str>) -> Result<&NodeSpec, Report> {
        self.profile.node(name).map_err(told)
    }

    /// The machine's planned address; the host's loopback where it has none of its own.
    pub(crate) fn address(&self, machine: &NodeSpec) -> IpAddr {
        let planned = self.profile.machine(machine);
        planned.map_or(IpAddr::from([0, 0, 0, 0]), |spec| self.workshop.driver.address(&spec))
    }

    pub(crate) fn state(&self, machine: &NodeSpec) -> MachineState {
        let planned = self.profile.machine(machine);
        planned
            .and_then(|spec| self.workshop.driver.state(&spec).ok())
            .unwrap_or(MachineState::Nonexistent)
    }

    pub(crate) fn is_running(&self, machine: &NodeSpec) -> bool {
        self.state(machine) == MachineState::Running
    }

    /// An error unless the machine runs.
    pub(crate) fn must_run(&self, machine: &NodeSpec) -> Result<(), Report> {
        match self.state(machine) {
            MachineState::Running => Ok(()),
            state => Err(told(ProvisionError::NotRunning { machine: machine.name.clone(), state })),
        }
    }

    /// Adds a worker and waits until it is Ready; its name.
    pub(crate) fn add_node(&self) -> Result<String, Report> {
        self.must_run(self.profile.spec.control_plane())?;
        let options = StartOptions { keep_context: true, ..StartOptions::default() };
        let name = self.profile.name();
        let (added, _) =
            self.workshop.work(|tools| minik_provisioner::add_node(tools, name, &options))?;
        Ok(added)
    }

    /// Takes a worker's machine away, then its Node object; its full name.
    pub(crate) fn delete_node(&self, node: &str) -> Result<String, Report> {
        let known = self.machine(Some(node))?.name.clone();
        let name = self.profile.name();
        let gone =
            self.workshop.work(|tools| minik_provisioner::delete_node(tools, name, &known))?;
        if self.is_running(self.profile.spec.control_plane()) {
            self.api()?.delete(&format!("/api/v1/nodes/{gone}"))?;
        }
        Ok(gone)
    }

    pub(crate) fn status(&self) -> Result<Vec<NodeStatus>, Report> {
        self.workshop.work(|tools| status::status(tools, &self.profile))
    }

    pub(crate) fn overview(&self, light: bool) -> Result<Overview, Report> {
        let spec = &self.profile.spec;
        let name = self.profile().to_owned();
        let (current, _) = self.workshop.kubeconfig.look(&name).map_err(told)?;
        Ok(Overview {
            driver: spec.driver.clone(),
            runtime: "containerd".to_owned(),
            address: self.address(spec.control_plane()).to_string(),
            version: spec.kubernetes_version.clone(),
            status: if light { "Skipped" } else { overall(&self.status()?).1 },
            nodes: spec.nodes.len(),
            context_active: current.as_deref() == Some(name.as_str()),
            name,
        })
    }

    /// Where a program on the host reaches a port of the control plane's machine.
    pub(crate) fn endpoint(&self, port: u16) -> Result<SocketAddr, Report> {
        self.with_access(|access| access.endpoint(self.profile.spec.control_plane(), port))
    }

    /// The API's URL for this host.
    pub(crate) fn server(&self) -> Result<String, Report> {
        self.with_access(|access| access.api_url())
    }

    /// A client of the cluster's API, as its administrator.
    pub(crate) fn api(&self) -> Result<Api, Report> {
        self.must_run(self.profile.spec.control_plane())?;
        let pki = self.profile.folder.pki();
        let read = |name: &str| {
            let path = pki.join(name);
            std::fs::read_to_string(&path).map_err(|err| {
                Report::new("HOST_IO", Exit::HOST_ERROR, format!("{}: {err}", path.display()))
                    .advise("`minik start` writes the certificates anew")
            })
        };
        Api::new(&Credentials {
            server: self.server()?,
            ca: read("ca.crt")?,
            certificate: read("admin.crt")?,
            key: read("admin.key")?,
        })
    }

    /// True when the kubeconfig had to be changed.
    pub(crate) fn update_context(&self) -> Result<bool, Report> {
        self.workshop.work(|tools| minik_provisioner::update_context(tools, &self.profile))
    }

    pub(crate) fn ssh_key(&self) -> PathBuf {
        self.profile.folder.ssh_key()
    }

    /// The line of `known_hosts` for a machine.
    pub(crate) fn known_hosts(&self, machine: &NodeSpec) -> Result<String, Report> {
        let key = self.with_access(|access| access.ssh_host_key(machine))?;
        Ok(format!("{} {key}", self.address(machine)))
    }

    /// The system's `ssh`, ready to be run: our key, our host key, a shell or one command.
    pub(crate) fn ssh(&self, machine: &NodeSpec, command: &[String]) -> Result<Command, Report> {
        let arguments = self.with_access(|access| access.ssh_arguments(machine, command))?;
        let mut ssh = Command::new("ssh");
        ssh.args(arguments);
        Ok(ssh)
    }

    /// What one command in a machine prints.
    pub(crate) fn remote(&self, machine: &NodeSpec, line: &str) -> Result<String, Report> {
        self.with_access(|access| {
            let mut shell = access.shell(machine)?;
            let output = exec(shell.as_mut(), line, QUICK)?;
            Ok(output.stdout)
        })
    }

    /// The last lines of a machine's console.
    pub(crate) fn console_tail(&self, machine: &NodeSpec, lines: usize) -> String {
        let Some(spec) = self.profile.machine(machine) else { return String::new() };
        let text = std::fs::read(self.workshop.driver.console(&spec)).unwrap_or_default();
        let text = crate::out::plain(&String::from_utf8_lossy(&text));
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// Starts Docker in the machine where it does not run; the folder with its client's certificates.
    pub(crate) fn enable_docker(&self) -> Result<PathBuf, Report> {
        let node = self.profile.spec.control_plane();
        self.must_run(node)?;
        self.workshop.work(|tools| minik_provisioner::docker::enable(tools, &self.profile, node))
    }

    /// Sends an archive to every machine; one sentence for each.
    pub(crate) fn load_image(&self, archive: &Path) -> Result<Vec<String>, Report> {
        let mut said = Vec::new();
        for node in self.machines() {
            self.must_run(node)?;
            let loaded = self.with_access(|access| {
                let mut shell = access.shell(node)?;
                minik_provisioner::images::load(shell.as_mut(), &node.name, archive)
            })?;
            let how = match (loaded.blobs_sent, loaded.blobs_there) {
                // Docker's older archives do not say what they hold.
                (0, 0) => "sent whole".to_owned(),
                (sent, there) => format!("{sent} blobs sent, {there} were there"),
            };
            said.push(format!("{} in {}: {how}", loaded.images.join(", "), node.name));
        }
        Ok(said)
    }

    pub(crate) fn images(&self) -> Result<Vec<ImageOnNode>, Report> {
        let node = self.profile.spec.control_plane();
        self.must_run(node)?;
        let images = self.with_access(|access| {
            let mut shell = access.shell(node)?;
            minik_provisioner::images::list(shell.as_mut(), &node.name)
        })?;
        let all = images.iter().flat_map(|image| {
            image.repo_tags.iter().map(|tag| ImageOnNode {
                name: tag.clone(),
                digest: image.id.clone(),
                size: image.size.to_string(),
            })
        });
        Ok(all.collect())
    }

    pub(crate) fn remove_image(&self, image: &str) -> Result<(), Report> {
        for node in self.machines() {
            self.must_run(node)?;
            self.with_access(|access| {
                let mut shell = access.shell(node)?;
                minik_provisioner::images::remove(shell.as_mut(), &node.name, image)
            })?;
        }
        Ok(())
    }

    fn with_access<T>(
        &self,
        act: impl FnOnce(&Access<'_>) -> Result<T, ProvisionError>,
    ) -> Result<T, Report> {
        self.workshop.work(|tools| act(&Access::new(tools, &self.profile)))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "reads well behind `map_err`")]
fn told(err: ProvisionError) -> Report {
    advice::provision(&err)
}

fn parsed(name: &str) -> Result<ProfileName, Report> {
    name.parse().map_err(|err| advice::spec(&err))
}
