//! The other owners of pods: DaemonSets, StatefulSets, Jobs, CronJobs.

use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use minik_reconcile::KeyOf;
use minik_testkit::{Cluster, until, until_list, yaml_like};
use serde_json::{Value, json};

fn here<K>(client: &Client) -> Api<K>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
{
    Api::namespaced(client.clone(), "default")
}

fn template(app: &str, image: &str, extra: &Value) -> Value {
    let mut spec = json!({ "containers": [{ "name": "main", "image": image }] });
    for (field, value) in extra.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    json!({ "metadata": { "labels": { "app": app } }, "spec": spec })
}

fn image_of(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.containers[0].image.as_deref()).unwrap_or_default()
}

fn with_image(image: &str) -> Patch<Value> {
    Patch::Strategic(json!({ "spec": { "template": { "spec": {
        "containers": [{ "name": "main", "image": image }] } } } }))
}

#[tokio::test]
async fn a_daemon_set_runs_on_every_node() {
    let cluster = Cluster::start().await.expect("a cluster");
    let _nodes = [cluster.add_node("n1"), cluster.add_node("n2")];
    let client = cluster.admin();
    let sets: Api<DaemonSet> = here(&client);
    let set: DaemonSet = yaml_like(json!({
        "metadata": { "name": "log" },
        "spec": { "selector": { "matchLabels": { "app": "log" } },
                  "template": template("log", "v1", &json!({})) },
    }));
    sets.create(&PostParams::default(), &set).await.expect("it is made");
    let is_up = |set: &DaemonSet| {
        let status = set.status.clone().unwrap_or_default();
        status.observed_generation == set.metadata.generation
            && status.number_available == Some(status.desired_number_scheduled)
            && status.updated_number_scheduled == Some(status.desired_number_scheduled)
    };
    until(&sets, "log", "both nodes have one", |set| {
        is_up(set) && set.status.as_ref().is_some_and(|one| one.desired_number_scheduled == 2)
    })
    .await;
    let _third = cluster.add_node("n3");
    let pods: Api<Pod> = here(&client);
    until_list(&pods, "the third too", |pods| pods.len() == 3).await;

    sets.patch("log", &PatchParams::default(), &with_image("v2")).await.expect("patched");
    until_list(&pods, "all run v2", |pods| {
        pods.len() == 3 && pods.iter().all(|pod| image_of(pod) == "v2")
    })
    .await;
    until(&sets, "log", "the rollout is complete", is_up).await;
    let revisions: Api<ControllerRevision> = here(&client);
    until_list(&revisions, "two revisions", |revisions| revisions.len() == 2).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_stateful_set_keeps_names_and_order() {
    let cluster = Cluster::start().await.expect("a cluster");
    let _node = cluster.add_node("n1");
    let client = cluster.admin();
    let sets: Api<StatefulSet> = here(&client);
    let set: StatefulSet = yaml_like(json!({
        "metadata": { "name": "db" },
        "spec": { "replicas": 3, "serviceName": "db",
                  "selector": { "matchLabels": { "app": "db" } },
                  "template": template("db", "v1", &json!({})) },
    }));
    sets.create(&PostParams::default(), &set).await.expect("it is made");
    let is_up = |set: &StatefulSet| {
        let status = set.status.clone().unwrap_or_default();
        status.observed_generation == set.metadata.generation
            && status.available_replicas == set.spec.as_ref().and_then(|spec| spec.replicas)
            && status.current_revision == status.update_revision
    };
    until(&sets, "db", "three are up", is_up).await;
    let pods: Api<Pod> = here(&client);
    let made = until_list(&pods, "three pods", |pods| pods.len() == 3).await;
    let names: Vec<_> = made.iter().filter_map(|pod| pod.metadata.name.as_deref()).collect();
    assert_eq!(names, ["db-0", "db-1", "db-2"]);

    sets.patch("db", &PatchParams::default(), &with_image("v2")).await.expect("patched");
    until_list(&pods, "all run v2", |pods| {
        pods.len() == 3 && pods.iter().all(|pod| image_of(pod) == "v2")
    })
    .await;
    until(&sets, "db", "the rollout is complete", is_up).await;

    let scale = Patch::Merge(json!({ "spec": { "replicas": 1 } }));
    sets.patch_scale("db", &PatchParams::default(), &scale).await.expect("scaled");
    let left = until_list(&pods, "one pod", |pods| pods.len() == 1).await;
    assert_eq!(left[0].metadata.name.as_deref(), Some("db-0"));
    cluster.stop().await;
}

#[tokio::test]
async fn the_claims_of_a_stateful_set_are_made_first() {
    let cluster = Cluster::start().await.expect("a cluster");
    let client = cluster.admin();
    let sets: Api<StatefulSet> = here(&client);
    let set: StatefulSet = yaml_like(json!({
        "metadata": { "name": "db" },
        "spec": { "replicas": 1, "serviceName": "db",
                  "selector": { "matchLabels": { "app": "db" } },
                  "template": template("db", "v1", &json!({})),
                  "volumeClaimTemplates": [{ "metadata": { "name": "data" }, "spec": {
                      "accessModes": ["ReadWriteOnce"], "storageClassName": "none",
                      "resources": { "requests": { "storage": "1Gi" } } } }] },
    }));
    sets.create(&PostParams::default(), &set).await.expect("it is made");
    let claims: Api<PersistentVolumeClaim> = here(&client);
    let claim = until(&claims, "data-db-0", "the claim is made", |_| true).await;
    assert_eq!(claim.label("app"), Some("db"));
    let pods: Api<Pod> = here(&client);
    until(&pods, "db-0", "the pod uses it", |pod| {
        pod.spec.as_ref().is_some_and(|spec| {
            spec.volumes.iter().flatten().any(|volume| {
                volume.persistent_volume_claim.as_ref().map(|one| one.claim_name.as_str())
                    == Some("data-db-0")
            })
        })
    })
    .await;
    cluster.stop().await;
}

fn job(name: &str, image: &str, extra: &Value) -> Job {
    let mut spec =
        json!({ "template": template(name, image, &json!({ "restartPolicy": "Never" })) });
    for (field, value) in extra.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    yaml_like(json!({ "metadata": { "name": name }, "spec": spec }))
}

fn has(job: &Job, condition: &str) -> bool {
    let conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|one| one.type_ == condition && one.status == "True")
}

#[tokio::test]
async fn jobs_end_well_or_badly() {
    let cluster = Cluster::start().await.expect("a cluster");
    let _node = cluster.add_node("n1");
    let client = cluster.admin();
    let jobs: Api<Job> = here(&client);
    let post = PostParams::default();
    let many = json!({ "completions": 3, "parallelism": 2, "completionMode": "Indexed" });
    jobs.create(&post, &job("sum", "done", &many)).await.expect("it is made");
    let sum = until(&jobs, "sum", "it is complete", |job| has(job, "Complete")).await;
    let status = sum.status.expect("written");
    assert_eq!((status.succeeded, status.completed_indexes.as_deref()), (Some(3), Some("0-2")));

    let once = json!({ "backoffLimit": 0 });
    jobs.create(&post, &job("broken", "fail", &once)).await.expect("it is made");
    let broken = until(&jobs, "broken", "it has failed", |job| has(job, "Failed")).await;
    assert_eq!(broken.status.expect("written").failed, Some(1));

    jobs.delete("sum", &DeleteParams::background()).await.expect("deleted");
    jobs.delete("broken", &DeleteParams::background()).await.expect("deleted");
    let pods: Api<Pod> = here(&client);
    until_list(&pods, "no pod is held back", <[Pod]>::is_empty).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_finished_job_goes_after_its_time() {
    let cluster = Cluster::start().await.expect("a cluster");
    let _node = cluster.add_node("n1");
    let client = cluster.admin();
    let jobs: Api<Job> = here(&client);
    let brief = json!({ "ttlSecondsAfterFinished": 0 });
    jobs.create(&PostParams::default(), &job("brief", "done", &brief)).await.expect("it is made");
    until_list(&jobs, "it is gone", <[Job]>::is_empty).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_cron_job_makes_the_job_of_a_missed_time() {
    let cluster = Cluster::start().await.expect("a cluster");
    let _node = cluster.add_node("n1");
    let client = cluster.admin();
    let cron_jobs: Api<CronJob> = here(&client);
    let made: CronJob = yaml_like(json!({
        "metadata": { "name": "report" },
        "spec": { "schedule": "* * * * *", "suspend": true, "jobTemplate": { "spec": {
            "template": template("report", "done", &json!({ "restartPolicy": "Never" })) } } },
    }));
    cron_jobs.create(&PostParams::default(), &made).await.expect("it is made");
    // As if it had run two minutes ago: so a time is due at once.
    let then = k8s_openapi::jiff::Timestamp::now() - std::time::Duration::from_secs(120);
    let before = Patch::Merge(json!({ "status": {
        "lastScheduleTime": k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(then) } }));
    let params = PatchParams::default();
    cron_jobs.patch_status("report", &params, &before).await.expect("the status is taken");
    let go = Patch::Merge(json!({ "spec": { "suspend": false } }));
    cron_jobs.patch("report", &params, &go).await.expect("it is resumed");
    let jobs: Api<Job> = here(&client);
    until_list(&jobs, "the job is complete", |jobs| jobs.iter().any(|job| has(job, "Complete")))
        .await;
    until(&cron_jobs, "report", "it notes the success", |cron_job| {
        cron_job.status.as_ref().is_some_and(|status| status.last_successful_time.is_some())
    })
    .await;
    cluster.stop().await;
}
