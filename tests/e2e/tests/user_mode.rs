//! The main job for somebody who has no rights at all on the host.

use std::path::Path;

use minik_e2e::image;
use minik_e2e::lab::Lab;

#[test]
fn a_user_without_rights_gets_the_same_cluster() {
    let lab = Lab::unprivileged("user");
    lab.minik("start --driver=qemu --cpus 2 --memory 2g").ok();
    assert!(lab.kubectl("get nodes").ok().contains(" Ready "));

    let archive = lab.path("web.tar");
    image::web(Path::new("/bin/busybox")).expect("a static busybox").write(&archive).unwrap();
    lab.minik(&format!("image load {}", archive.display())).ok();
    lab.kubectl("create deployment web --image=minik.test/web:1").ok();
    lab.kubectl("expose deployment web --type=NodePort --port=80").ok();
    lab.kubectl("rollout status deployment/web --timeout=240s").ok();

    let url = lab.minik("service web --url").ok();
    assert!(url.starts_with("http://127.0.0.1:"), "on loopback only: {url}");
    assert!(lab.curl(&format!("{url}/cgi-bin/index.cgi")).ok().starts_with("hello from web-"));
    assert!(lab.minik("ssh -- uname -n").ok().starts_with("minik"));

    lab.minik("delete").ok();
    assert_eq!(lab.leftovers(), "");
}
