//! From a machine's description to QEMU's arguments. Pure: the same description gives the same
//! arguments, in the same order.

use std::fmt::Display;
use std::path::Path;

use minik_driver::{MachineSpec, NAT_NETWORK, NetworkMode, stable_hash, tap_name};

use crate::files::Files;
use crate::switch::Switch;
use crate::version::QemuVersion;

/// The name of the agent's port inside the guest.
const AGENT_PORT: &str = "io.minik.agent.0";
/// The way out: a user-mode stack. In user mode forwards are added to it.
pub(crate) const NAT: &str = "nat";
/// Translated code QEMU keeps when emulating, in MiB. The default of 1 GiB is more than a laptop
/// should spend; less than half of this makes it translate again and again.
const TRANSLATED_MIB: u32 = 512;

/// What QEMU gives up. Denying it to spawn or to change its session would also keep it from going
/// to the background.
pub(crate) const SANDBOX: &str = "on,obsolete=deny,resourcecontrol=deny";

/// What runs the guest's instructions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Engine {
    /// KVM, with the CPU model that passed the trial.
    Kvm {
        /// `host`, or `host` without a feature this host cannot give.
        cpu: String,
    },
    /// Emulation.
    Emulation,
}

/// What is known about the QEMU that is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// What runs the guest's instructions.
    pub engine: Engine,
    /// Its version.
    pub version: QemuVersion,
    /// It can give up rights it does not need (seccomp).
    pub sandbox: bool,
    /// The kernel can move packets of tap devices by itself.
    pub vhost_net: bool,
}

/// The arguments QEMU is started with, without the program.
pub fn command_line(spec: &MachineSpec, launch: &Launch) -> Vec<String> {
    let mut args = Args::default();
    machine(&mut args, spec, launch);
    kernel(&mut args, spec, &launch.engine);
    disks(&mut args, spec);
    channels(&mut args, spec);
    network(&mut args, spec, launch);
    args.0
}

#[derive(Default)]
struct Args(Vec<String>);

impl Args {
    fn flag(&mut self, name: &str) {
        self.0.push(name.to_owned());
    }
    fn set(&mut self, name: &str, value: impl Display) {
        self.0.push(name.to_owned());
        self.0.push(value.to_string());
    }
}

/// A path inside a list of options, where a comma ends an option unless it is doubled.
fn quoted(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

fn machine(args: &mut Args, spec: &MachineSpec, launch: &Launch) {
    let MachineSpec { profile, name, cpus, memory_mib, .. } = spec;
    args.set("-name", format!("guest={profile}/{name},process=minik-{name}"));
    args.flag("-no-user-config");
    args.flag("-nodefaults");
    args.set("-display", "none");
    // Whatever a cloud kernel would only spend time to look for is off.
    args.set(
        "-machine",
        "q35,smm=off,vmport=off,hpet=off,sata=off,i8042=off,graphics=off,usb=off,dump-guest-core=off",
    );
    match &launch.engine {
        Engine::Kvm { cpu } => {
            args.set("-accel", "kvm");
            args.set("-cpu", cpu);
        }
        Engine::Emulation => {
            args.set("-accel", format!("tcg,thread=multi,tb-size={TRANSLATED_MIB}"));
            // Without the fifth level of page tables each address is found a step sooner.
            args.set("-cpu", "max,la57=off");
        }
    }
    args.set("-smp", format!("cpus={cpus},sockets=1,cores={cpus},threads=1"));
    args.set("-m", format!("{memory_mib}M"));
    args.set("-uuid", uuid(profile, name));
    args.set("-rtc", "base=utc");
    args.set("-device", "vmgenid,guid=auto");
    args.set("-object", "rng-builtin,id=rng");
    args.set("-device", "virtio-rng-pci,rng=rng");
    // A guest that panics while it boots ends QEMU instead of trying for ever. Once it is ready,
    // the driver allows reboots.
    args.set("-action", "reboot=shutdown,shutdown=poweroff");
    if launch.sandbox {
        args.set("-sandbox", SANDBOX);
    }
    args.set("-pidfile", Files(spec).pid().display());
    // With a log of its own, QEMU leaves stderr open when it goes to the background.
    args.set("-D", Files(spec).qemu_log().display());
    args.flag("-daemonize");
}

/// The same machine is recognised by its UUID after it was made anew.
fn uuid(profile: &str, name: &str) -> String {
    let high = stable_hash(&["uuid-high", profile, name]);
    let low = stable_hash(&["uuid-low", profile, name]);
    // The marks of a version 8 UUID: "made in the maker's own way".
    let high = (high & !0xf000) | 0x8000;
    let low = (low & !(0b11 << 62)) | (0b10 << 62);
    let (a, b, c) = (high >> 32, (high >> 16) & 0xffff, high & 0xffff);
    format!("{a:08x}-{b:04x}-{c:04x}-{:04x}-{:012x}", low >> 48, low & 0xffff_ffff_ffff)
}

fn kernel(args: &mut Args, spec: &MachineSpec, engine: &Engine) {
    let image = &spec.image;
    let kernel = match engine {
        Engine::Kvm { .. } => &image.vmlinuz,
        // Nothing to decompress, which emulation is slow at.
        Engine::Emulation => &image.vmlinux,
    };
    let console = ["console=ttyS0", "panic=-1"].map(str::to_owned);
    let words: Vec<_> = image.cmdline.iter().chain(&console).map(String::as_str).collect();
    args.set("-kernel", kernel.display());
    args.set("-initrd", image.initrd.display());
    args.set("-append", words.join(" "));
}

fn disks(args: &mut Args, spec: &MachineSpec) {
    let data = quoted(&Files(spec).data_disk());
    // A full host disk pauses the machine instead of failing the guest's writes.
    args.set(
        "-blockdev",
        format!(
            "driver=qcow2,node-name=data,discard=unmap,detect-zeroes=unmap,file.driver=file,file.filename={data}"
        ),
    );
    args.set("-device", "virtio-blk-pci,drive=data,serial=minik-data,werror=enospc");
    let docker = spec.image.docker.as_ref().map(|layer| ("docker", layer));
    for (name, file) in
        [("root", &spec.image.root)].into_iter().chain(docker).chain([("seed", &spec.seed)])
    {
        let file = quoted(file);
        args.set(
            "-blockdev",
            format!(
                "driver=raw,node-name={name},read-only=on,file.driver=file,file.filename={file}"
            ),
        );
        args.set("-device", format!("virtio-blk-pci,drive={name},serial=minik-{name}"));
    }
}

fn channels(args: &mut Args, spec: &MachineSpec) {
    let files = Files(spec);
    args.set("-chardev", format!("file,id=console,path={}", quoted(&files.console())));
    args.set("-serial", "chardev:console");
    args.set("-device", "virtio-serial-pci,id=channels");
    args.set(
        "-chardev",
        format!(
            "socket,id=agent,server=on,wait=off,path={},logfile={},logappend=on",
            quoted(&files.agent()),
            quoted(&files.agent_log()),
        ),
    );
    args.set("-device", format!("virtserialport,bus=channels.0,chardev=agent,name={AGENT_PORT}"));
    args.set(
        "-chardev",
        format!("socket,id=monitor,server=on,wait=off,path={}", quoted(&files.monitor())),
    );
    args.set("-mon", "chardev=monitor,mode=control");
}

fn network(args: &mut Args, spec: &MachineSpec, launch: &Launch) {
    let plan = &spec.network;
    let (nat, prefix) = NAT_NETWORK;
    args.set(
        "-netdev",
        format!("user,id={NAT},ipv6=off,net={nat}/{prefix},hostname={}", spec.name),
    );
    args.set("-device", format!("virtio-net-pci,netdev={NAT},mac={},romfile=", plan.mac_nat));
    let netdev = match plan.mode {
        NetworkMode::Tap => tap_netdev(args, spec, launch),
        NetworkMode::User if Switch(spec).is_first() => {
            args.set("-netdev", "hubport,id=port-own,hubid=0");
            "port-own"
        }
        NetworkMode::User => wire_netdev(args, spec),
    };
    args.set(
        "-device",
        format!("virtio-net-pci,netdev={netdev},mac={},romfile=", plan.mac_hostonly),
    );
}

fn tap_netdev(args: &mut Args, spec: &MachineSpec, launch: &Launch) -> &'static str {
    let tap = tap_name(&spec.profile, &spec.name);
    let vhost = if launch.vhost_net { ",vhost=on" } else { "" };
    args.set("-netdev", format!("tap,id=tap,ifname={tap},script=no,downscript=no{vhost}"));
    "tap"
}

fn wire_netdev(args: &mut Args, spec: &MachineSpec) -> &'static str {
    let (machine, hub) = Switch(spec).sockets();
    let (machine, hub) = (quoted(&machine), quoted(&hub));
    let ends = format!("local.type=unix,local.path={machine},remote.type=unix,remote.path={hub}");
    args.set("-netdev", format!("dgram,id=wire,{ends}"));
    "wire"
}

#[cfg(test)]
pub(crate) mod tests;
