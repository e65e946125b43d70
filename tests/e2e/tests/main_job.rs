//! The main job on a real machine, in the order in which a newcomer meets it.

use std::path::Path;

use minik_e2e::image;
use minik_e2e::lab::Lab;

const WEB: &str = "minik.test/web:1";

/// One machine, asked much: booting is what costs under emulation.
#[test]
fn a_cluster_from_start_to_delete() {
    let lab = Lab::new("main").with_minik_alone();

    lab.minik("start --driver=qemu --cpus 2 --memory 2g --wait=all").ok();
    kubectl_finds_a_ready_node(&lab);
    starting_again_changes_nothing(&lab);

    a_web_app_answers_on_its_node_port(&lab);
    the_habits_of_minikube_work(&lab);
    a_killed_container_comes_back(&lab);
    exec_and_logs_reach_the_container(&lab);

    let address = lab.minik("ip").ok();
    lab.minik("stop").ok();
    assert_eq!(lab.minik("status").code, 7, "stopped: host, kubelet and API are down");
    lab.minik("start").ok();
    assert_eq!(lab.minik("ip").ok(), address, "the address stays");
    lab.kubectl("rollout status deployment/web --timeout=240s").ok();
    let url = lab.minik("service web --url").ok();
    assert!(lab.curl(&url).ok().contains("hello from web-"));

    docker_builds_what_the_cluster_runs(&lab);

    lab.minik("delete").ok();
    assert_eq!(lab.leftovers(), "", "nothing stays behind");
    assert_eq!(lab.minik("status").code, 85, "there is no such profile any more");
    assert_eq!(lab.kubectl("config get-contexts -o name").ok(), "", "no context either");
}

fn kubectl_finds_a_ready_node(lab: &Lab) {
    let nodes = lab.kubectl("get nodes --no-headers").ok();
    assert!(nodes.contains(" Ready "), "{nodes}");
    assert!(nodes.contains("v1.36"), "{nodes}");
    assert_eq!(lab.kubectl("config current-context").ok(), "minik");
}

fn starting_again_changes_nothing(lab: &Lab) {
    let before = lab.minik("ssh -- cat /proc/sys/kernel/random/boot_id").ok();
    let pid = lab.minik("ssh -- systemctl show -p MainPID --value minik-node").ok();
    let again = lab.minik("start");
    assert!(again.stderr.contains("nothing was changed"), "{again:?}");
    again.ok();
    assert_eq!(lab.minik("ssh -- cat /proc/sys/kernel/random/boot_id").ok(), before);
    assert_eq!(lab.minik("ssh -- systemctl show -p MainPID --value minik-node").ok(), pid);
}

fn a_web_app_answers_on_its_node_port(lab: &Lab) {
    let archive = lab.path("web.tar");
    image::web(Path::new("/bin/busybox")).expect("a static busybox").write(&archive).unwrap();
    lab.minik(&format!("image load {}", archive.display())).ok();
    assert!(lab.minik("image ls").ok().contains(WEB));

    lab.kubectl(&format!("create deployment web --image={WEB} --replicas=2")).ok();
    lab.kubectl("expose deployment web --type=NodePort --port=80").ok();
    lab.kubectl("rollout status deployment/web --timeout=240s").ok();

    let url = lab.minik("service web --url").ok();
    let address = lab.minik("ip").ok();
    let start = match lab.can_make_taps() {
        true => format!("http://{address}:3"),
        false => "http://127.0.0.1:".to_owned(),
    };
    assert!(url.starts_with(&start), "{url}");
    let mut pods = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let said = lab.curl(&format!("{url}/cgi-bin/index.cgi")).ok();
        assert!(said.starts_with("hello from web-"), "{said}");
        pods.insert(said);
    }
    assert_eq!(pods.len(), 2, "both replicas answer: {pods:?}");
}

fn the_habits_of_minikube_work(lab: &Lab) {
    assert!(lab.minik("ssh -- uname -a").ok().starts_with("Linux minik "));
    assert_eq!(lab.minik("ssh -- exit 7").code, 7, "exit codes come through");
    let status = lab.minik("status").ok();
    for line in ["type: Control Plane", "host: Running", "kubelet: Running", "apiserver: Running"] {
        assert!(status.contains(line), "{status}");
    }
    let services = lab.minik("service list").ok();
    assert!(services.contains("web"), "{services}");
    let profiles = lab.minik("profile list -o json").ok();
    assert!(profiles.contains("\"Name\":\"minik\""), "{profiles}");
}

fn a_killed_container_comes_back(lab: &Lab) {
    let pod = lab.get("pods -l app=web")["items"][0].clone();
    let name = pod["metadata"]["name"].as_str().expect("a name").to_owned();
    let id = pod["status"]["containerStatuses"][0]["containerID"]
        .as_str()
        .and_then(|id| id.strip_prefix("containerd://"))
        .expect("a container id")
        .to_owned();
    lab.minik(&format!("ssh -- ctr -n k8s.io tasks kill -s SIGKILL {id}")).ok();
    lab.kubectl(&format!(
        "wait pod/{name} --timeout=120s --for=jsonpath={{.status.containerStatuses[0].restartCount}}=1"
    ))
    .ok();
    lab.kubectl(&format!("wait pod/{name} --timeout=120s --for=condition=Ready")).ok();
}

fn exec_and_logs_reach_the_container(lab: &Lab) {
    let said = lab.kubectl("exec deploy/web -- /bin/busybox hostname").ok();
    assert!(said.starts_with("web-"), "{said}");
    assert_eq!(lab.shell("kubectl exec deploy/web -- /bin/sh -c 'exit 3'").code, 3);
    lab.kubectl("logs deploy/web").ok();
    let answer =
        lab.kubectl("exec deploy/web -- /bin/busybox wget -q -O- http://web/cgi-bin/index.cgi");
    assert!(answer.ok().starts_with("hello from web-"), "the service's name resolves in a pod");
}

fn docker_builds_what_the_cluster_runs(lab: &Lab) {
    let context = lab.path("app");
    std::fs::create_dir(&context).unwrap();
    std::fs::copy("/bin/busybox", context.join("busybox")).unwrap();
    std::fs::write(
        context.join("Dockerfile"),
        "FROM scratch\nCOPY busybox /bin/busybox\nCMD [\"/bin/busybox\", \"httpd\", \"-f\", \"-p\", \"80\"]\n",
    )
    .unwrap();
    lab.shell(&format!("eval $(minik docker-env) && docker build -t app {}", context.display()))
        .ok();
    lab.kubectl("run app --image=app --image-pull-policy=Never").ok();
    lab.kubectl("wait pod/app --for=condition=Ready --timeout=180s").ok();
}
