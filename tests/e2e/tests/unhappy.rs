//! What happens when something is wrong: the error one would want, and nothing left half done.

use minik_e2e::lab::{Lab, flip_a_byte};

#[test]
fn a_wrong_wish_is_refused_with_its_reason() {
    let lab = Lab::new("wishes");
    let refused = |flags: &str, code: i32, id: &str, words: &str| {
        let said = lab.minik(&format!("start {flags}")).fails_with(code);
        assert!(said.contains(&format!("Exiting due to {id}:")), "{flags}\n{said}");
        assert!(said.contains(words), "{flags}: no word of `{words}` in\n{said}");
        assert!(said.contains("Suggestion:"), "{flags}: no advice\n{said}");
    };
    refused("--host-only-cidr 127.0.0.1/24", 78, "IF_HOST_CIDR", "loopback");
    refused("--host-only-cidr 8.8.8.1/24", 78, "IF_HOST_CIDR", "public");
    refused("--host-only-cidr 192.168.70.0/24", 78, "IF_HOST_CIDR", "192.168.70.0");
    refused("--memory 100mb", 23, "RSRC_INSUFFICIENT_REQ_MEMORY", "768 MiB");
    refused("--memory 900g", 23, "RSRC_OVER_ALLOC_MEM", "this host has");
    refused("--cpus 900", 29, "RSRC_INSUFFICIENT_CORES", "this host has");
    refused("--disk-size 10mb", 26, "RSRC_INSUFFICIENT_STORAGE", "2000 MiB");
    refused("--driver qmeu", 56, "DRV_UNSUPPORTED_DRIVER", "qmeu");
    refused("--driver virtualbox", 65, "PROVIDER_VIRTUALBOX_NOT_FOUND", "VBoxManage");
    refused("--kubernetes-version v1.20.0", 16, "K8S_VERSION_UNSUPPORTED", "v1.20.0");
    refused(
        "--guest-image-url file:///nowhere/manifest.json",
        40,
        "INET_IMAGE_DOWNLOAD",
        "nowhere",
    );
    lab.minik("start --no-such-flag").fails_with(14);

    let bare = "MINIK_QEMU=/nowhere/qemu-system-x86_64 PATH=/nowhere";
    let said = lab.shell(&format!("minik=$(command -v minik); {bare} $minik start")).fails_with(65);
    assert!(said.contains("PROVIDER_QEMU_NOT_FOUND"), "{said}");
    assert_eq!(lab.leftovers_of_machines(), "", "a refused start leaves nothing");
}

#[test]
fn an_image_that_is_not_what_it_says_is_never_used() {
    let lab = Lab::new("image");
    let copy = lab.path("image");
    let wrong = format!("file://{}", copy.join("manifest.json").display());
    let start = format!("start --guest-image-url {wrong}");

    lab.copy_image(&copy);
    flip_a_byte(&copy.join("initrd"));
    let said = lab.minik(&start).fails_with(40);
    assert!(said.contains("initrd") && said.contains("SHA-256"), "{said}");

    lab.copy_image(&copy);
    flip_a_byte(&copy.join("manifest.json"));
    let said = lab.minik(&start).fails_with(30);
    assert!(said.contains("HOST_IMAGE_SIGNATURE"), "{said}");
    assert_eq!(lab.leftovers_of_machines(), "");
}

#[test]
fn a_start_that_was_killed_anywhere_goes_on() {
    let lab = Lab::new("killed");
    let flags = "--driver=qemu --memory 2g";
    for step in [
        "Downloading Artifacts",
        "Creating VM",
        "Provisioning",
        "Preparing Kubernetes",
        "Booting control plane",
    ] {
        assert!(lab.start_killed_at(flags, step), "no step `{step}` was seen");
    }
    lab.minik(&format!("start {flags}")).ok();
    assert!(lab.kubectl("get nodes").ok().contains(" Ready "));
    lab.minik("delete").ok();
    assert_eq!(lab.leftovers(), "", "nothing stays behind");

    assert!(lab.start_killed_at(flags, "Provisioning"));
    lab.minik("delete").ok();
    assert_eq!(lab.leftovers(), "", "not after half a start either");
}

#[test]
fn one_command_at_a_time_works_on_a_cluster() {
    let lab = Lab::new("lock");
    let holder = lab.hold_the_lock("minik");
    let said = lab.minik("start --no-wait").fails_with(31);
    assert!(said.contains("HOST_PROFILE_BUSY"), "{said}");
    drop(holder);
}
