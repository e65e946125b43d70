//! What QEMU is told, as golden text: one argument pair per line.

use std::path::PathBuf;

use expect_test::{Expect, expect};
use minik_driver::{BootFiles, MachineSpec, NetworkMode, NetworkRequest, plan_network};

use super::*;

pub(crate) fn sample(mode: NetworkMode) -> MachineSpec {
    let request = NetworkRequest {
        profile: "dev",
        machine: "dev",
        index: 0,
        mode,
        cidr: Some("192.168.60.1/24"),
    };
    let image = PathBuf::from("/image");
    MachineSpec {
        profile: "dev".to_owned(),
        name: "dev".to_owned(),
        cpus: 2,
        memory_mib: 2048,
        disk_mib: 20_000,
        dir: "/data/dev".into(),
        run_dir: "/run/dev".into(),
        image: BootFiles {
            vmlinux: image.join("vmlinux"),
            vmlinuz: image.join("vmlinuz"),
            initrd: image.join("initrd"),
            root: image.join("root.erofs"),
            docker: Some(image.join("docker.erofs")),
            cmdline: vec!["quiet".to_owned()],
        },
        seed: "/data/dev/seed,1.img".into(),
        network: plan_network(&request, &[]).expect("a plain plan"),
    }
}

fn launch(engine: Engine) -> Launch {
    let version = QemuVersion { major: 10, minor: 0, micro: 2 };
    Launch { engine, version, sandbox: true, vhost_net: false }
}

fn check(spec: &MachineSpec, launch: &Launch, expected: Expect) {
    let mut text = String::new();
    for arg in command_line(spec, launch) {
        let separator = if arg.starts_with('-') { '\n' } else { ' ' };
        text.push(separator);
        text.push_str(&arg);
    }
    expected.assert_eq(text.trim_start());
}

#[test]
fn emulation_without_privileges() {
    check(
        &sample(NetworkMode::User),
        &launch(Engine::Emulation),
        expect![[r#"
            -name guest=dev/dev,process=minik-dev
            -no-user-config
            -nodefaults
            -display none
            -machine q35,smm=off,vmport=off,hpet=off,sata=off,i8042=off,graphics=off,usb=off,dump-guest-core=off
            -accel tcg,thread=multi,tb-size=512
            -cpu max,la57=off
            -smp cpus=2,sockets=1,cores=2,threads=1
            -m 2048M
            -uuid ccf7c70b-4478-84b3-9422-2d6293a94a9f
            -rtc base=utc
            -device vmgenid,guid=auto
            -object rng-builtin,id=rng
            -device virtio-rng-pci,rng=rng
            -action reboot=shutdown,shutdown=poweroff
            -sandbox on,obsolete=deny,resourcecontrol=deny
            -pidfile /run/dev/qemu.pid
            -D /data/dev/qemu.log
            -daemonize
            -kernel /image/vmlinux
            -initrd /image/initrd
            -append quiet console=ttyS0 panic=-1
            -blockdev driver=qcow2,node-name=data,discard=unmap,detect-zeroes=unmap,file.driver=file,file.filename=/data/dev/data.qcow2
            -device virtio-blk-pci,drive=data,serial=minik-data,werror=enospc
            -blockdev driver=raw,node-name=root,read-only=on,file.driver=file,file.filename=/image/root.erofs
            -device virtio-blk-pci,drive=root,serial=minik-root
            -blockdev driver=raw,node-name=docker,read-only=on,file.driver=file,file.filename=/image/docker.erofs
            -device virtio-blk-pci,drive=docker,serial=minik-docker
            -blockdev driver=raw,node-name=seed,read-only=on,file.driver=file,file.filename=/data/dev/seed,,1.img
            -device virtio-blk-pci,drive=seed,serial=minik-seed
            -chardev file,id=console,path=/data/dev/console.log
            -serial chardev:console
            -device virtio-serial-pci,id=channels
            -chardev socket,id=agent,server=on,wait=off,path=/run/dev/agent.sock,logfile=/data/dev/agent.log,logappend=on
            -device virtserialport,bus=channels.0,chardev=agent,name=io.minik.agent.0
            -chardev socket,id=monitor,server=on,wait=off,path=/run/dev/qmp.sock
            -mon chardev=monitor,mode=control
            -netdev user,id=nat,ipv6=off,net=10.0.2.0/24,hostname=dev
            -device virtio-net-pci,netdev=nat,mac=52:75:4f:77:a2:11,romfile=
            -netdev hubport,id=port-own,hubid=0
            -device virtio-net-pci,netdev=port-own,mac=52:8d:cf:93:95:17,romfile="#]],
    );
}

#[test]
fn kvm_with_a_tap_device() {
    let mut launch = launch(Engine::Kvm { cpu: "host".to_owned() });
    launch.vhost_net = true;
    launch.sandbox = false;
    let mut spec = sample(NetworkMode::Tap);
    spec.image.docker = None;
    check(
        &spec,
        &launch,
        expect![[r#"
            -name guest=dev/dev,process=minik-dev
            -no-user-config
            -nodefaults
            -display none
            -machine q35,smm=off,vmport=off,hpet=off,sata=off,i8042=off,graphics=off,usb=off,dump-guest-core=off
            -accel kvm
            -cpu host
            -smp cpus=2,sockets=1,cores=2,threads=1
            -m 2048M
            -uuid ccf7c70b-4478-84b3-9422-2d6293a94a9f
            -rtc base=utc
            -device vmgenid,guid=auto
            -object rng-builtin,id=rng
            -device virtio-rng-pci,rng=rng
            -action reboot=shutdown,shutdown=poweroff
            -pidfile /run/dev/qemu.pid
            -D /data/dev/qemu.log
            -daemonize
            -kernel /image/vmlinuz
            -initrd /image/initrd
            -append quiet console=ttyS0 panic=-1
            -blockdev driver=qcow2,node-name=data,discard=unmap,detect-zeroes=unmap,file.driver=file,file.filename=/data/dev/data.qcow2
            -device virtio-blk-pci,drive=data,serial=minik-data,werror=enospc
            -blockdev driver=raw,node-name=root,read-only=on,file.driver=file,file.filename=/image/root.erofs
            -device virtio-blk-pci,drive=root,serial=minik-root
            -blockdev driver=raw,node-name=seed,read-only=on,file.driver=file,file.filename=/data/dev/seed,,1.img
            -device virtio-blk-pci,drive=seed,serial=minik-seed
            -chardev file,id=console,path=/data/dev/console.log
            -serial chardev:console
            -device virtio-serial-pci,id=channels
            -chardev socket,id=agent,server=on,wait=off,path=/run/dev/agent.sock,logfile=/data/dev/agent.log,logappend=on
            -device virtserialport,bus=channels.0,chardev=agent,name=io.minik.agent.0
            -chardev socket,id=monitor,server=on,wait=off,path=/run/dev/qmp.sock
            -mon chardev=monitor,mode=control
            -netdev user,id=nat,ipv6=off,net=10.0.2.0/24,hostname=dev
            -device virtio-net-pci,netdev=nat,mac=52:75:4f:77:a2:11,romfile=
            -netdev tap,id=tap,ifname=mt3169f19954,script=no,downscript=no,vhost=on
            -device virtio-net-pci,netdev=tap,mac=52:8d:cf:93:95:17,romfile="#]],
    );
}

#[test]
fn a_further_machine_is_wired_to_the_first() {
    let mut spec = sample(NetworkMode::User);
    spec.name = "dev-m02".to_owned();
    spec.run_dir = "/run/dev-m02".into();
    let args = command_line(&spec, &launch(Engine::Emulation));
    let netdevs: Vec<_> = args.iter().skip_while(|arg| !arg.contains("id=nat")).collect();
    expect![[r#"
        [
            "user,id=nat,ipv6=off,net=10.0.2.0/24,hostname=dev-m02",
            "-device",
            "virtio-net-pci,netdev=nat,mac=52:75:4f:77:a2:11,romfile=",
            "-netdev",
            "dgram,id=wire,local.type=unix,local.path=/run/sa109558b7c/f32b5ae1bb.machine,remote.type=unix,remote.path=/run/sa109558b7c/f32b5ae1bb.hub",
            "-device",
            "virtio-net-pci,netdev=wire,mac=52:8d:cf:93:95:17,romfile=",
        ]
    "#]].assert_debug_eq(&netdevs);
}
