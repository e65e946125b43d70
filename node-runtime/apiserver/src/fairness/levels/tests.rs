//! What levels lend each other.

use super::super::builtin;
use super::super::queues::Arrival;
use super::super::settings::Settings;
use super::*;
use crate::live::Fold;
use expect_test::expect;
use minik_meta::object;

const PREFIX: &str = "/registry/flowcontrol.apiserver.k8s.io/prioritylevelconfigurations/";

fn plan() -> (Settings, Arc<Plan>) {
    let mut settings = Settings::default();
    for level in builtin::suggested_levels() {
        settings.apply(&format!("{PREFIX}{}", object::name(&level)), Some(&level));
    }
    let plan = settings.plan();
    (settings, plan)
}

fn limits(levels: &Levels) -> String {
    let line = |level: &&Level| format!("{} {}\n", level.spec.name, level.queues.limit());
    levels.sorted().iter().map(line).collect()
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn idle_levels_share_alike_and_a_busy_one_borrows() {
    let mut levels = Levels::new(600);
    let (_, plan) = plan();
    levels.refresh(at(0), &plan);
    let nominal: u32 = levels.sorted().iter().map(|level| level.limits.nominal).sum();
    assert_eq!(nominal, 602, "rounded up");
    levels.refresh(at(10), &plan);
    expect![[r#"
        catch-all 30
        exempt 0
        global-default 56
        leader-election 58
        node-high 170
        system 117
        workload-high 114
        workload-low 56
    "#]]
    .assert_eq(&limits(&levels));
    // One level wants all there is.
    let busy = levels.get("global-default").expect("level");
    for id in 0..500 {
        busy.queues.arrive(at(11), id, id, 1);
    }
    let begun = levels.refresh(at(20), &plan);
    assert!(!begun.is_empty(), "who waited runs with what was lent");
    let busy = levels.get("global-default").expect("level");
    assert!(busy.queues.limit() > 300, "{}", busy.queues.limit());
    // What is not lendable stays.
    assert_eq!(levels.get("leader-election").expect("level").queues.limit(), 25);
    assert_eq!(levels.get("catch-all").expect("level").queues.limit(), 13);
}

#[test]
fn a_level_that_is_taken_out_goes_when_its_last_request_is_gone() {
    let mut levels = Levels::new(600);
    let (mut settings, plan) = plan();
    levels.refresh(at(0), &plan);
    let level = levels.get("workload-low").expect("level");
    assert_eq!(level.queues.arrive(at(1), 1, 7, 1), Arrival::Running);
    settings.apply(&format!("{PREFIX}workload-low"), None);
    settings.apply(&format!("{PREFIX}system"), None);
    levels.refresh(at(1), &settings.plan());
    assert!(levels.get("system").is_none());
    let level = levels.get("workload-low").expect("still there");
    assert!(level.quiescing);
    level.queues.leave(at(2), 1);
    levels.reap("workload-low");
    assert!(levels.get("workload-low").is_none());
    // An older plan that comes late changes nothing.
    levels.refresh(at(3), &plan);
    assert!(levels.get("system").is_none());
}

#[test]
fn wide_requests_may_take_a_part_of_their_level() {
    let mut levels = Levels::new(600);
    levels.refresh(at(0), &plan().1);
    let most = |levels: &mut Levels, name| levels.get(name).expect("level").seats_max();
    assert_eq!(most(&mut levels, "workload-low"), 10);
    assert_eq!(most(&mut levels, "leader-election"), 4);
    assert_eq!(most(&mut levels, "exempt"), 10);
}
