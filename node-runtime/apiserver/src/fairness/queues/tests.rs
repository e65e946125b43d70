//! Who runs, who waits and who is next, on a clock of the test's own.

use super::*;
use crate::fairness::shuffle::flow_hash;
use test_case::test_case;

const MANY: Policy = Policy::Queue { queues: 64, hand: 6, length: 5 };
const ONE: Policy = Policy::Queue { queues: 1, hand: 1, length: 3 };

/// A level, a clock, and names for what arrives.
struct Bench {
    queues: Queues,
    now: Duration,
    flows: HashMap<Id, &'static str>,
    running: Vec<Id>,
    last_id: Id,
}

impl Bench {
    fn new(policy: Policy, limit: u32) -> Bench {
        Bench {
            queues: Queues::new(policy, limit),
            now: Duration::ZERO,
            flows: HashMap::new(),
            running: Vec::new(),
            last_id: 0,
        }
    }

    fn arrive(&mut self, flow: &'static str, seats: u32) -> (Id, Arrival) {
        self.last_id += 1;
        let id = self.last_id;
        let arrival = self.queues.arrive(self.now, id, flow_hash("schema", flow), seats);
        self.flows.insert(id, flow);
        if arrival == Arrival::Running {
            self.running.push(id);
        }
        self.go_on();
        (id, arrival)
    }

    /// Lets all run that may.
    fn go_on(&mut self) -> Vec<&'static str> {
        let mut begun = Vec::new();
        while let Some(id) = self.queues.next(self.now) {
            self.running.push(id);
            begun.push(self.flows[&id]);
        }
        self.check();
        begun
    }

    fn leave(&mut self, id: Id) -> Vec<&'static str> {
        self.running.retain(|one| *one != id);
        self.queues.leave(self.now, id);
        self.go_on()
    }

    fn pass(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
    }

    /// What holds at every moment.
    fn check(&self) {
        let load = self.queues.load();
        let sum = |of: fn(&Queue) -> u32| self.queues.queues.iter().map(of).sum::<u32>();
        if matches!(self.queues.policy, Policy::Queue { .. }) {
            assert_eq!(load.running, sum(|queue| queue.running));
            assert_eq!(load.seats_in_use, sum(|queue| queue.seats_in_use));
            assert_eq!(load.waiting, sum(|queue| queue.waiting.len() as u32));
            assert_eq!(load.seats_waiting, sum(|queue| queue.waiting_seats));
        }
        assert_eq!(load.running as usize, self.running.len());
        assert_eq!((load.running + load.waiting) as usize, self.queues.placed.len());
        assert!(self.queues.queues.iter().all(|queue| !queue.is_empty()));
        assert!(self.queues.queues.is_sorted_by_key(|queue| queue.index));
    }
}

#[test]
fn exempt_requests_always_run_and_rejecting_levels_never_queue() {
    let mut bench = Bench::new(Policy::Exempt, 0);
    for _ in 0..20 {
        assert_eq!(bench.arrive("a", 3).1, Arrival::Running);
    }
    let mut bench = Bench::new(Policy::Reject, 2);
    let (first, _) = bench.arrive("a", 1);
    assert_eq!(bench.arrive("a", 1).1, Arrival::Running);
    assert_eq!(bench.arrive("b", 1).1, Arrival::Refused(Refusal::NoSeats));
    bench.leave(first);
    assert_eq!(bench.arrive("b", 1).1, Arrival::Running);
}

#[test]
fn a_full_queue_refuses_but_only_while_all_seats_are_taken() {
    let mut bench = Bench::new(ONE, 1);
    let (running, arrival) = bench.arrive("a", 1);
    assert_eq!(arrival, Arrival::Running);
    for _ in 0..3 {
        assert_eq!(bench.arrive("a", 1).1, Arrival::Waiting);
    }
    assert_eq!(bench.arrive("a", 1).1, Arrival::Refused(Refusal::QueueFull));
    assert_eq!(bench.leave(running), ["a"]);
    assert_eq!(bench.arrive("a", 1).1, Arrival::Waiting);
}

#[test]
fn who_gives_up_makes_room() {
    let mut bench = Bench::new(ONE, 1);
    let (running, _) = bench.arrive("a", 1);
    let waiting: Vec<Id> = (0..3).map(|_| bench.arrive("a", 1).0).collect();
    bench.leave(waiting[1]);
    assert_eq!(bench.arrive("a", 1).1, Arrival::Waiting);
    assert_eq!(bench.leave(running), ["a"]);
    assert_eq!(bench.running, [waiting[0]], "in the order they came");
    assert!(bench.queues.leave(bench.now, 4711).is_none(), "who is not there");
}

#[test]
fn wide_requests_wait_for_their_seats_and_are_not_overtaken() {
    let mut bench = Bench::new(ONE, 4);
    let (first, _) = bench.arrive("a", 3);
    assert_eq!(bench.arrive("a", 2).1, Arrival::Waiting);
    assert_eq!(bench.arrive("a", 1).1, Arrival::Waiting, "one seat is free, but not its turn");
    assert_eq!(bench.leave(first), ["a", "a"]);
    assert_eq!(bench.queues.load().seats_in_use, 3);
    // What is wider than the level runs when it is alone.
    let mut bench = Bench::new(ONE, 4);
    assert_eq!(bench.arrive("a", 9).1, Arrival::Running);
    assert_eq!(bench.arrive("a", 1).1, Arrival::Waiting);
}

#[test]
fn a_flood_makes_another_flow_wait_for_its_hand_of_queues_only() {
    let mut bench = Bench::new(MANY, 4);
    while bench.arrive("flood", 1).1 != Arrival::Refused(Refusal::QueueFull) {}
    assert!(bench.queues.load().waiting >= 5);
    bench.pass(100);
    assert_eq!(bench.arrive("calm", 1).1, Arrival::Waiting);
    // The queues of the flood that were not served yet came before; none is served twice.
    let mut begun = Vec::new();
    while !begun.contains(&"calm") {
        let done = bench.running[0];
        begun.extend(bench.leave(done));
        bench.pass(1);
    }
    assert!(begun.len() <= 7, "{begun:?}");
}

/// Two flows that always have more to ask, and what each of them gets of the time.
#[test_case(1, 1, 5, 5; "alike")]
#[test_case(1, 1, 5, 50; "slow against fast")]
#[test_case(3, 1, 10, 10; "wide against narrow")]
fn busy_flows_get_the_same(wide: u32, narrow: u32, slow_ms: u64, fast_ms: u64) {
    let shape = [("a", wide, slow_ms), ("b", narrow, fast_ms)];
    // A hand of one, so that each flow has one queue.
    let mut bench = Bench::new(Policy::Queue { queues: 512, hand: 1, length: 100 }, 6);
    let mut got: HashMap<&str, u64> = HashMap::new();
    let mut ends: Vec<(Duration, Id)> = Vec::new();
    let mut seen = Vec::new();
    for _ in 0..4000 {
        for (flow, seats, _) in shape {
            let waits = |bench: &Bench| {
                let mine = bench.flows.iter().filter(|(_, name)| **name == flow);
                mine.filter(|(id, _)| {
                    bench.queues.placed(**id).is_some_and(|p| p.started.is_none())
                })
                .count()
            };
            while waits(&bench) < 8 {
                bench.arrive(flow, seats);
            }
        }
        for id in bench.running.clone() {
            if !seen.contains(&id) {
                seen.push(id);
                let flow = bench.flows[&id];
                let (_, seats, took) = *shape.iter().find(|one| one.0 == flow).expect("a flow");
                ends.push((bench.now + Duration::from_millis(took), id));
                *got.entry(flow).or_default() += took * u64::from(seats);
            }
        }
        ends.sort();
        let (end, id) = ends.remove(0);
        bench.now = end;
        seen.retain(|one| *one != id);
        bench.leave(id);
        bench.flows.remove(&id);
    }
    let (a, b) = (got["a"] as f64, got["b"] as f64);
    assert!((a / b - 1.0).abs() < 0.15, "seat-milliseconds: {got:?}");
}

#[test]
fn whatever_happens_nothing_is_lost_and_limits_hold() {
    const FLOWS: [&str; 5] = ["a", "b", "c", "d", "e"];
    for policy in [MANY, ONE, Policy::Reject] {
        let mut bench = Bench::new(policy, 5);
        let mut here: Vec<Id> = Vec::new();
        for _ in 0..5000 {
            bench.pass(rand::random_range(0..20));
            match rand::random_range(0..5) {
                0..=2 => {
                    let flow = FLOWS[rand::random_range(0..FLOWS.len())];
                    let (id, arrival) = bench.arrive(flow, rand::random_range(1..4));
                    if !matches!(arrival, Arrival::Refused(_)) {
                        here.push(id);
                    }
                }
                3 if !here.is_empty() => {
                    let id = here.swap_remove(rand::random_range(0..here.len()));
                    bench.leave(id);
                }
                _ => {
                    bench.queues.set_limit(rand::random_range(3..9));
                    bench.go_on();
                }
            }
        }
        while let Some(id) = here.pop() {
            bench.leave(id);
        }
        assert!(bench.queues.is_idle() && bench.queues.queues.is_empty());
        assert_eq!(bench.queues.load(), Load::default(), "{policy:?}");
    }
}
