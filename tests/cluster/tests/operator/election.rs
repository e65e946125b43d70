//! Leader election by a Lease: who holds it renews it, who does not waits until it is due.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::PostParams;
use kube::runtime::wait::await_condition;
use kube::{Api, Client};

use crate::install::{HOME, LEASE};
use crate::reconcile;

const LEASE_SECONDS: i32 = 4;
const RENEWAL: Duration = Duration::from_secs(1);

/// One instance of the operator: works while it leads. Stopping it is aborting it, as a crash would.
pub(crate) async fn instance(client: Client, name: String) {
    let leases: Api<Lease> = Api::namespaced(client.clone(), HOME);
    loop {
        become_leader(&leases, &name).await;
        tokio::select! {
            () = reconcile::run(client.clone(), name.clone()) => {}
            () = stay_leader(&leases, &name) => {}
        }
    }
}

async fn become_leader(leases: &Api<Lease>, name: &str) {
    loop {
        match take(leases, name).await {
            Ok(None) => return,
            Ok(Some(held)) => wait_for(leases, held).await,
            Err(_) => tokio::time::sleep(RENEWAL).await,
        }
    }
}

async fn stay_leader(leases: &Api<Lease>, name: &str) {
    let mut renewed = tokio::time::Instant::now();
    let patience = Duration::from_secs(LEASE_SECONDS.unsigned_abs().into()) - RENEWAL;
    while renewed.elapsed() < patience {
        tokio::time::sleep(RENEWAL).await;
        match take(leases, name).await {
            Ok(None) => renewed = tokio::time::Instant::now(),
            Ok(Some(_)) => return,
            Err(_) => {}
        }
    }
}

/// Takes the lease or renews it; else how long somebody else holds it yet.
async fn take(leases: &Api<Lease>, name: &str) -> Result<Option<Duration>, kube::Error> {
    let now = Timestamp::now();
    let mut lease = leases.get(LEASE).await?;
    let old = lease.spec.take().unwrap_or_default();
    let holder = old.holder_identity.as_deref().unwrap_or_default();
    let mine = holder == name;
    if !mine && !holder.is_empty() {
        let due = old.renew_time.as_ref().map_or(now, |time| time.0)
            + SignedDuration::from_secs(LEASE_SECONDS.into());
        if due > now {
            return Ok(Some(due.duration_since(now).unsigned_abs()));
        }
    }
    let transitions = old.lease_transitions.unwrap_or_default();
    lease.spec = Some(LeaseSpec {
        holder_identity: Some(name.to_owned()),
        lease_duration_seconds: Some(LEASE_SECONDS),
        acquire_time: if mine { old.acquire_time } else { Some(MicroTime(now)) },
        renew_time: Some(MicroTime(now)),
        lease_transitions: Some(if mine { transitions } else { transitions + 1 }),
        ..old
    });
    match leases.replace(LEASE, &PostParams::default(), &lease).await {
        Ok(_) => Ok(None),
        // Somebody was faster.
        Err(kube::Error::Api(status)) if status.reason == "Conflict" => Ok(Some(RENEWAL)),
        Err(error) => Err(error),
    }
}

/// Until the lease is due, or is given up before that.
async fn wait_for(leases: &Api<Lease>, held: Duration) {
    let free = |lease: Option<&Lease>| {
        let spec = lease.and_then(|lease| lease.spec.as_ref());
        spec.and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default().is_empty()
    };
    let _ = tokio::time::timeout(held, await_condition(leases.clone(), LEASE, free)).await;
}
