//! ntfy (docs.ntfy.sh, "Publish as JSON"): one document to the root of the server. Buttons call the service back with
//! the token of the alarm; the alarm is the sequence id, so that newer servers replace what the phone shows.

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, StatusCode, Url};
use serde_json::{Value, json};
use statecast_state::rule::ReceiverKind;

use super::Letter;
use crate::check::{Reach, ntfy_topic};
use crate::fit::fit;
use crate::http::{Clients, Reply, ask};
use crate::message::{Message, Urgency};
use crate::outbox::Claimed;
use crate::policy::{Answer, Blame, clean};
use crate::target::parse_url;

/// Largest document, in bytes: the message in it may have 4,096, and the whole twice as much. Ours stay far below, as
/// a longer message would become an attachment.
const DOCUMENT_BYTES_MAX: usize = 4_096;
/// Most buttons.
const ACTIONS_MAX: usize = 3;
/// How long "shelve" on a button is for.
const SHELVE_FOR: &str = "1h";

/// The channel for receivers of kind ntfy.
pub(crate) struct Ntfy {
    given: Client,
    trusted: Client,
    reach: Reach,
}

pub(super) fn letter(row: &Claimed) -> Result<Letter, String> {
    let ReceiverKind::Ntfy { url, .. } = &row.receiver.kind else {
        return Err("not a topic of ntfy".to_owned());
    };
    let (_, topic) = ntfy_topic(url).ok_or("there is no topic at the end of the URL")?;
    let told = Message::of(&row.push);
    let body = fit(&row.push.payload, DOCUMENT_BYTES_MAX, |payload| document(told.cut(payload), topic))?;
    Ok(Letter::new(row, body))
}

fn document(told: Message<'_>, topic: &str) -> Value {
    let (priority, tag) = match told.urgency() {
        // Neither sound nor vibration.
        _ if told.is_silent() => (2, "white_check_mark"),
        Urgency::Low => (2, "information_source"),
        Urgency::Normal => (3, "warning"),
        Urgency::High => (5, "rotating_light"),
    };
    let message = if told.body().is_empty() { told.title() } else { told.body() };
    let mut document = json!({
        "topic": topic, "title": told.title(), "message": message, "priority": priority, "tags": [tag],
    });
    if let Some(collapse) = told.collapse() {
        document["sequence_id"] = collapse.into();
    }
    if let Some(link) = told.link() {
        document["click"] = link.into();
    }
    let actions = actions(told);
    if !actions.is_empty() {
        document["actions"] = actions.into();
    }
    document
}

/// The buttons that can be called back: where the service is, is known from the link.
fn actions(told: Message<'_>) -> Vec<Value> {
    let service = told.link().and_then(|link| Url::parse(link).ok()).filter(|url| url.has_host());
    let Some(((service, token), alarm)) = service.zip(told.token()).zip(told.collapse()) else {
        return Vec::new();
    };
    let base = service.origin().ascii_serialization();
    let version = told.alarm_version();
    let button = |(id, title): (&str, &str)| {
        let mut body = json!({ "version": version });
        if id == "shelve" {
            body["for"] = SHELVE_FOR.into();
        }
        json!({
            "action": "http", "label": title, "method": "POST", "url": format!("{base}/v1/alarms/{alarm}/{id}"),
            "headers": { "Authorization": format!("Bearer {token}"), "Content-Type": "application/json" },
            "body": body.to_string(), "clear": true,
        })
    };
    let known = told.actions().filter(|(id, _)| matches!(*id, "ack" | "shelve"));
    known.take(ACTIONS_MAX).map(button).collect()
}

impl Ntfy {
    pub(super) fn new(given: Client, clients: &Clients, reach: &Reach) -> anyhow::Result<Self> {
        Ok(Self { given, trusted: clients.given(true)?, reach: reach.clone() })
    }

    pub(super) async fn send(&self, letter: &Letter, url: &str, token: Option<&str>) -> Answer {
        let private = self.reach.to_ntfy(url);
        let server = ntfy_topic(url).map_or(url, |(server, _)| server);
        let server = match parse_url(server, private) {
            Ok(server) => server,
            Err(error) => return Answer::Impossible { error: clean(error.to_string().as_bytes()) },
        };
        let client = if private { &self.trusted } else { &self.given };
        let mut request = client
            .post(server)
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(letter.body.clone());
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        match ask(request).await {
            Ok(reply) => judge(&reply),
            Err(answer) => answer,
        }
    }
}

/// What a server means (ntfy, `errors.go`).
fn judge(reply: &Reply) -> Answer {
    let error = || reply.error();
    match reply.status {
        // The message as it was published; anything else isn't ntfy.
        status if status.is_success() => {
            let published =
                serde_json::from_slice::<Value>(&reply.body).is_ok_and(|said| said["id"].is_string());
            if published { Answer::Accepted { status: status.as_u16() } } else { reply.failed(Blame::Push) }
        }
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => Answer::Impossible { error: error() },
        // It counts what comes from one address, for all topics.
        StatusCode::TOO_MANY_REQUESTS => reply.failed(Blame::Quota),
        // Nobody has subscribed at present.
        StatusCode::INSUFFICIENT_STORAGE => reply.failed(Blame::Push),
        _ => reply.judge(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::message::tests::push;
    use reqwest::header::HeaderMap;
    use statecast_state::PushKind;
    use statecast_state::alarm::Severity;

    #[test]
    fn buttons_call_back_with_the_token_of_the_alarm() {
        let push = push(PushKind::Alarm, Severity::Critical);
        let document = document(Message::of(&push), "ops");
        assert_eq!((&document["topic"], &document["priority"]), (&json!("ops"), &json!(5)));
        assert_eq!((&document["sequence_id"], &document["message"]), (&json!("a1"), &json!("90 °C")));
        let actions = document["actions"].as_array().unwrap();
        assert_eq!(actions.len(), 2, "what can't be called isn't offered");
        assert_eq!(actions[0]["url"], "https://state.example/v1/alarms/a1/ack");
        assert_eq!(actions[0]["headers"]["Authorization"], "Bearer t");
        assert_eq!(actions[0]["body"], r#"{"version":3}"#);
        assert_eq!(actions[1]["body"], r#"{"for":"1h","version":3}"#);
    }

    #[test]
    fn without_a_link_there_are_no_buttons() {
        let mut push = push(PushKind::Update, Severity::Critical);
        push.payload["link"] = Value::Null;
        push.payload["body"] = json!("");
        let document = document(Message::of(&push), "ops");
        assert!(document.get("actions").is_none());
        assert_eq!((&document["message"], &document["priority"]), (&json!("boiler is hot"), &json!(2)));
    }

    #[test]
    fn each_status_means_what_ntfy_says() {
        let judged = |status: u16, body: &str| {
            let status = StatusCode::from_u16(status).unwrap();
            judge(&Reply { status, headers: HeaderMap::new(), body: body.as_bytes().to_vec() })
        };
        assert_eq!(judged(200, r#"{"id":"x"}"#), Answer::Accepted { status: 200 });
        assert!(matches!(judged(200, "<html>"), Answer::Failed { blame: Blame::Push, .. }));
        assert!(matches!(judged(403, ""), Answer::Failed { blame: Blame::Push, .. }));
        assert!(matches!(judged(429, ""), Answer::Failed { blame: Blame::Quota, .. }));
        assert!(matches!(judged(400, ""), Answer::Impossible { .. }));
    }
}
