//! Counters and histograms, by channel and outcome, never by device or receiver.

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, histogram};

use crate::outbox::Outcome;
use crate::policy::{Answer, Blame, seconds_since};
use statecast_state::Timestamp;

const DELIVERIES: &str = "statecast_push_deliveries_total";
const ACCEPT: &str = "statecast_push_accept_seconds";
const QUEUE_AGE: &str = "statecast_push_queue_age_seconds";
const ANSWERS: &str = "statecast_push_answers_total";
/// How often a gate was shut.
pub(crate) const RESTS: &str = "statecast_push_rests_total";
/// Gates that are shut.
pub(crate) const RESTING: &str = "statecast_push_resting";

/// Tells what each means. Once, at the start.
pub(crate) fn describe() {
    describe_counter!(DELIVERIES, Unit::Count, "What became of claimed pushes, by channel and outcome");
    describe_counter!(ANSWERS, Unit::Count, "What attempts were answered, by channel and meaning");
    describe_counter!(RESTS, Unit::Count, "How often a provider or origin began to rest, by channel");
    describe_gauge!(RESTING, Unit::Count, "Providers and origins that rest, by channel");
    describe_histogram!(ACCEPT, Unit::Seconds, "From the firing of a rule until the receiver accepted");
    describe_histogram!(QUEUE_AGE, Unit::Seconds, "From the firing of a rule until the first attempt");
}

/// What became of a push was written.
pub(crate) fn finished(channel: &'static str, outcome: &Outcome) {
    let outcome = match outcome {
        Outcome::Delivered { .. } => "delivered",
        Outcome::Retry { .. } => "retry",
        Outcome::Postponed { .. } => "postponed",
        Outcome::Dead { .. } => "dead",
        Outcome::ReceiverGone { .. } => "gone",
    };
    counter!(DELIVERIES, "channel" => channel, "outcome" => outcome).increment(1);
}

/// An attempt was answered, or not.
pub(crate) fn answered(channel: &'static str, answer: &Answer) {
    let answer = match answer {
        Answer::Accepted { .. } => "accepted",
        Answer::Gone { .. } => "gone",
        Answer::Failed { blame: Blame::Push, .. } => "failed",
        Answer::Failed { blame: Blame::Provider, .. } => "provider",
        Answer::Failed { blame: Blame::Quota, .. } => "quota",
        Answer::Impossible { .. } => "impossible",
        Answer::Refused { .. } => "refused",
    };
    counter!(ANSWERS, "channel" => channel, "answer" => answer).increment(1);
}

/// A receiver accepted a push.
pub(crate) fn accepted(channel: &'static str, created_at: Timestamp) {
    histogram!(ACCEPT, "channel" => channel).record(seconds_since(created_at));
}

/// The first attempt of a push begins.
pub(crate) fn first_attempt(channel: &'static str, created_at: Timestamp) {
    histogram!(QUEUE_AGE, "channel" => channel).record(seconds_since(created_at));
}
