//! One machine by hand, without the CLI: to try the driver and to look for what is slow.
//!
//!     machine FOLDER VERB [ARGUMENT]
//!
//! FOLDER holds `seed.img` and `image/` (vmlinux, vmlinuz, initrd, root.erofs, perhaps
//! docker.erofs); the machine is made in it. VERB is probe, create, start, ready, state, endpoint
//! PORT, stop, kill or delete. The environment may set MODE (tap, user), CPUS, MEMORY, DISK (MiB),
//! CIDR, TOOLS (a folder with a
//! QEMU), SEED, and NAME and INDEX (of a further machine).

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use minik_driver::{
    BootFiles, Driver, MachineSpec, NetworkMode, NetworkRequest, RealHost, bridge_name,
    networks_of_host, plan_network,
};
use minik_qemu::{QemuConfig, QemuDriver};

const PATIENCE: Duration = Duration::from_secs(120);

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [folder, verb, rest @ ..] = args.as_slice() else {
        return Err("usage: machine FOLDER VERB [ARGUMENT]".into());
    };
    let folder = std::path::absolute(folder)?;
    let driver = QemuDriver::new(
        RealHost,
        QemuConfig {
            tool_dirs: setting("TOOLS").into_iter().map(Into::into).collect(),
            cache_dir: folder.join("cache"),
            ..QemuConfig::default()
        },
    );
    let began = Instant::now();
    let said = run(&driver, &folder, verb, rest)?;
    let mut out = std::io::stdout();
    writeln!(out, "{said}")?;
    writeln!(out, "{verb}: {} ms", began.elapsed().as_millis())?;
    Ok(())
}

fn run(
    driver: &QemuDriver,
    folder: &Path,
    verb: &str,
    rest: &[String],
) -> Result<String, Box<dyn Error>> {
    let spec = spec(driver, folder)?;
    Ok(match verb {
        "probe" => format!("{:#?}\n{:#?}", driver.probe()?, driver.choose_network(None)?),
        "create" => format!("{:?}", driver.create(&spec)?),
        "start" => format!("{:?}", driver.start(&spec)?),
        "ready" => format!("{:?}", driver.wait_ready(&spec, PATIENCE)?),
        "state" => format!("{}", driver.state(&spec)?),
        "endpoint" => {
            let port = rest.first().ok_or("which port?")?.parse()?;
            driver.endpoint(&spec, port)?.to_string()
        }
        "stop" => format!("{:?}", driver.stop(&spec, PATIENCE)?),
        "kill" => format!("{:?}", driver.kill(&spec)?),
        "delete" => format!("{:?}", driver.delete(&spec)?),
        "plan" => format!("{:?}", spec.network),
        other => return Err(format!("there is no verb {other}").into()),
    })
}

fn spec(driver: &QemuDriver, folder: &Path) -> Result<MachineSpec, Box<dyn Error>> {
    let profile = "by-hand".to_owned();
    let number = |name: &str, default: u64| setting(name).map_or(Ok(default), |text| text.parse());
    let name = setting("NAME").unwrap_or(profile.clone());
    let mode = match setting("MODE").as_deref() {
        Some("tap") => NetworkMode::Tap,
        Some("user") => NetworkMode::User,
        Some(other) => return Err(format!("there is no mode {other}").into()),
        None => driver.choose_network(None)?.mode,
    };
    let cidr = setting("CIDR");
    let request = NetworkRequest {
        profile: &profile,
        machine: &name,
        index: u32::try_from(number("INDEX", 0)?)?,
        mode,
        cidr: cidr.as_deref(),
    };
    let network = plan_network(&request, &networks_of_host(&RealHost, &bridge_name(&profile))?)?;
    let image = folder.join("image");
    let docker = Some(image.join("docker.erofs")).filter(|layer| layer.exists());
    Ok(MachineSpec {
        cpus: u32::try_from(number("CPUS", 2)?)?,
        memory_mib: number("MEMORY", 2048)?,
        disk_mib: number("DISK", 20_000)?,
        dir: folder.join("machine").join(&name),
        run_dir: folder.join("run").join(&name),
        image: BootFiles {
            vmlinux: image.join("vmlinux"),
            vmlinuz: image.join("vmlinuz"),
            initrd: image.join("initrd"),
            root: image.join("root.erofs"),
            docker,
            cmdline: ["quiet", "loglevel=4", "random.trust_cpu=on"].map(str::to_owned).to_vec(),
        },
        seed: folder.join(setting("SEED").unwrap_or("seed.img".to_owned())),
        network,
        profile,
        name,
    })
}

fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
