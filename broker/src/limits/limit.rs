//! Every limit that there is.

/// A limit, by the name of the setting that moves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    Connections,
    ConnectionsPerAddress,
    Connects,
    ConnectsPerAddress,
    ConnectBytes,
    ConnectTimeout,
    LoginFailuresPerAddress,
    LoginFailuresPerName,
    KeepAliveMin,
    KeepAliveMax,
    PacketBytes,
    PacketDeadline,
    PartialBytes,
    BytesInFlight,
    Unacknowledged,
    Publishes,
    PublishBytes,
    TopicBytes,
    TopicLevels,
    Subscriptions,
    OutboxBytes,
    WriteDeadline,
    RouterTopics,
    RouterFilters,
    RouterLinks,
    RetainedBytes,
    RetainedMessages,
    Sessions,
    SessionMessages,
    SessionBytes,
    SessionsBytes,
    DelayedWills,
}

impl Limit {
    /// The label under which it is counted: the setting without its table, so that who reads the counter knows what
    /// to change.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Connections => "connections_max",
            Self::ConnectionsPerAddress => "connections_per_address_max",
            Self::Connects => "connects_per_s_max",
            Self::ConnectsPerAddress => "connects_per_address_per_s_max",
            Self::ConnectBytes => "connect_bytes_max",
            Self::ConnectTimeout => "connect_timeout_s",
            Self::LoginFailuresPerAddress => "login_failures_per_address_max",
            Self::LoginFailuresPerName => "login_failures_per_name_max",
            Self::KeepAliveMin => "keep_alive_s_min",
            Self::KeepAliveMax => "keep_alive_s_max",
            Self::PacketBytes => "packet_bytes_max",
            Self::PacketDeadline => "packet_deadline_s",
            Self::PartialBytes => "partial_bytes_max",
            Self::BytesInFlight => "bytes_in_flight_max",
            Self::Unacknowledged => "unacknowledged_max",
            Self::Publishes => "publishes_per_s_max",
            Self::PublishBytes => "publish_bytes_per_s_max",
            Self::TopicBytes => "topic_bytes_max",
            Self::TopicLevels => "topic_levels_max",
            Self::Subscriptions => "subscriptions_max",
            Self::OutboxBytes => "outbox_bytes_max",
            Self::WriteDeadline => "write_deadline_s",
            Self::RouterTopics => "router_topics_max",
            Self::RouterFilters => "router_filters_max",
            Self::RouterLinks => "router_links_max",
            Self::RetainedBytes => "retained_bytes_max",
            Self::RetainedMessages => "retained_messages_max",
            Self::Sessions => "sessions_max",
            Self::SessionMessages => "session_messages_max",
            Self::SessionBytes => "session_bytes_max",
            Self::SessionsBytes => "sessions_bytes_max",
            Self::DelayedWills => "delayed_wills_max",
        }
    }

    /// What a v5 client reads in the reason string.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Connections => "too many connections",
            Self::ConnectionsPerAddress => "too many connections from your address",
            Self::Connects => "too many clients connect at present",
            Self::ConnectsPerAddress => "your address connects too often",
            Self::ConnectBytes => "the CONNECT is too long",
            Self::ConnectTimeout => "the CONNECT took too long",
            Self::LoginFailuresPerAddress => "too many failed logins from your address",
            Self::LoginFailuresPerName => "too many failed logins with this name",
            Self::KeepAliveMin => "the keep-alive is too short",
            Self::KeepAliveMax => "the keep-alive is too long",
            Self::PacketBytes => "the packet is too long",
            Self::PacketDeadline => "the packet took too long from its first byte to its last",
            Self::PartialBytes => "too many packets are half sent",
            Self::BytesInFlight => "too much waits to be stored",
            Self::Unacknowledged => "more unacknowledged publishes than the receive maximum",
            Self::Publishes => "too many publishes",
            Self::PublishBytes => "too many bytes published",
            Self::TopicBytes => "the topic is too long",
            Self::TopicLevels => "the topic has too many levels",
            Self::Subscriptions => "too many subscriptions",
            Self::OutboxBytes => "too much waits for you to read it",
            Self::WriteDeadline => "you read nothing of what waits for you",
            Self::RouterTopics => "too many topics",
            Self::RouterFilters => "too many filters",
            Self::RouterLinks => "too many subscribers",
            Self::RetainedBytes | Self::RetainedMessages => "too many retained messages",
            Self::Sessions => "too many sessions are kept",
            Self::SessionMessages | Self::SessionBytes | Self::SessionsBytes => {
                "too much waits in the session"
            }
            Self::DelayedWills => "too many wills wait",
        }
    }

    /// Counts that it took effect once.
    pub(crate) fn count(self) {
        metrics::counter!("statecast_mqtt_limited_total", "limit" => self.label()).increment(1);
    }
}
