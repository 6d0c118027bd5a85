//! Virtual hosts: namespaces of the catalog. The one that is always there, `/`, is the default namespace of all protocols.
//!
//! A virtual host is where the exchanges are that are always there. The first of them is declared last and goes last, so that
//! one which a crash leaves half made is none, and one that it leaves half deleted is still there to be deleted. Its labels hold the
//! policies of the virtual host (`policies/`).

use duolog_broker::catalog::DEFAULT_NAMESPACE;
use duolog_broker::errors::ChangeError;
use duolog_broker::routing::{ExchangeKind, ExchangeSpec};
use duolog_broker::{Catalog, Session};

use crate::labels::Declared;
use crate::session::streams::is_stream;

/// The exchanges that are there from the start. Source: AMQP 0-9-1, 3.1.3; RabbitMQ has `amq.match` beside them.
const PREDECLARED: [(&str, ExchangeKind); 5] = [
    (MARK, ExchangeKind::Direct),
    ("amq.fanout", ExchangeKind::Fanout),
    ("amq.headers", ExchangeKind::Headers),
    ("amq.match", ExchangeKind::Headers),
    ("amq.topic", ExchangeKind::Topic),
];
/// Where this is, there is a virtual host.
pub(crate) const MARK: &str = "amq.direct";
/// The virtual host that is always there.
const ROOT: &str = "/";

/// The namespace of a virtual host.
#[must_use]
pub fn namespace_of(vhost: &str) -> &str {
    if vhost == ROOT { DEFAULT_NAMESPACE } else { vhost }
}

/// The name of a namespace as a virtual host.
#[must_use]
pub fn vhost_of(namespace: &str) -> &str {
    if namespace == DEFAULT_NAMESPACE { ROOT } else { namespace }
}

/// True if the namespace is that of a virtual host.
pub(crate) fn is_there(catalog: &Catalog, namespace: &str) -> bool {
    catalog.exchange(namespace, MARK).is_some()
}

/// True if there is a virtual host of this name. It has one name alone, though its namespace has another.
pub(crate) fn is_known(catalog: &Catalog, vhost: &str) -> bool {
    vhost != DEFAULT_NAMESPACE && is_there(catalog, namespace_of(vhost))
}

/// All of them, by name.
pub(crate) fn all(catalog: &Catalog) -> Vec<String> {
    let found = catalog.namespaces_with_exchanges().into_iter().filter(|it| is_there(catalog, it));
    let mut names: Vec<_> = found.map(|it| vhost_of(&it).to_owned()).collect();
    names.sort_unstable();
    names
}

/// Makes a virtual host, or what is missing of it; false if it was there.
pub(crate) async fn open(session: &Session, vhost: &str) -> Result<bool, ChangeError> {
    if vhost == DEFAULT_NAMESPACE {
        let why = format!("the virtual host of the namespace {vhost} is {ROOT}");
        return Err(ChangeError::Invalid { what: "virtual host", why });
    }
    let namespace = namespace_of(vhost);
    let is_new = !is_there(&session.catalog(), namespace);
    for (name, kind) in PREDECLARED.into_iter().rev() {
        if session.catalog().exchange(namespace, name).is_some() {
            continue;
        }
        let declared = Declared { durable: true, ..Declared::default() };
        let spec = ExchangeSpec {
            namespace: namespace.to_owned(),
            labels: declared.labels(),
            ..ExchangeSpec::new(name, kind)
        };
        match session.create_exchange(spec).await {
            Ok(_) | Err(ChangeError::Exists(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(is_new)
}

/// Deletes a virtual host and all that is in it; false if there is none.
pub(crate) async fn delete(session: &Session, vhost: &str) -> Result<bool, ChangeError> {
    if vhost == ROOT {
        let why = "it is the namespace of all protocols".to_owned();
        return Err(ChangeError::Invalid { what: "virtual host", why });
    }
    if !is_known(&session.catalog(), vhost) {
        return Ok(false);
    }
    // Connections may declare more meanwhile.
    loop {
        let catalog = session.catalog();
        let queues: Vec<_> = catalog.queues(vhost).map(|it| session.delete_queue(it.id)).collect();
        let others = catalog.exchanges(vhost).filter(|it| it.name != MARK);
        let exchanges: Vec<_> = others.map(|it| session.delete_exchange(it.id, false)).collect();
        // Those of queues go with them.
        let streams: Vec<_> = catalog.topics(vhost).filter(|it| is_stream(it)).map(|it| it.id).collect();
        if queues.is_empty() && exchanges.is_empty() && streams.is_empty() {
            break;
        }
        let streams = streams.into_iter().map(|id| session.delete_topic(id));
        for change in queues.into_iter().chain(exchanges).chain(streams) {
            match change.await {
                Ok(()) | Err(ChangeError::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
    }
    let mark = session.catalog().exchange(vhost, MARK).map(|it| it.id);
    match mark {
        Some(id) => session.delete_exchange(id, false).await.map(|()| true),
        None => Ok(true),
    }
}
