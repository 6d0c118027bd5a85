//! The access policy of a queue as a document: statements added and removed by label; what it is made of is that of topics too.
//!
//! The document is kept and given back; nothing evaluates it yet. Source: SQS API Reference, AddPermission,
//! RemovePermission; SQS Developer Guide, "Basic examples of Amazon SQS policies" and policy quotas.

use serde_json::{Map, Value, json};

use crate::error::{ErrorCode, SqsError};
use crate::limits::{PERMISSION_ACTIONS, POLICY_BYTES, POLICY_PRINCIPALS, POLICY_STATEMENTS};

/// Actions that a policy can allow others.
const ACTIONS: [&str; 10] = [
    "*",
    "ChangeMessageVisibility",
    "DeleteMessage",
    "GetQueueAttributes",
    "GetQueueUrl",
    "ListDeadLetterSourceQueues",
    "ListQueueTags",
    "PurgeQueue",
    "ReceiveMessage",
    "SendMessage",
];
/// Actions that stay with the owner.
const OWNERS: [&str; 12] = [
    "AddPermission",
    "CancelMessageMoveTask",
    "CreateQueue",
    "DeleteQueue",
    "ListMessageMoveTasks",
    "ListQueues",
    "RemovePermission",
    "SetQueueAttributes",
    "StartMessageMoveTask",
    "TagQueue",
    "UntagQueue",
    "SetQueuePolicy",
];

/// What AddPermission asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grant<'a> {
    /// Names the statement.
    pub label: &'a str,
    /// Accounts that may.
    pub accounts: &'a [&'a str],
    /// What they may.
    pub actions: &'a [&'a str],
}

/// The policy of the queue with this ARN, with a statement more.
///
/// # Errors
/// `InvalidParameterValue`, `OverLimit`.
pub(crate) fn add(policy: Option<&str>, queue_arn: &str, grant: Grant<'_>) -> Result<String, SqsError> {
    let actions = grant.actions.iter().map(|action| checked_action(action)).collect::<Result<Vec<_>, _>>()?;
    if actions.len() > PERMISSION_ACTIONS {
        let message =
            format!("{} Actions were found, maximum allowed is {PERMISSION_ACTIONS}.", actions.len());
        return Err(SqsError::new(ErrorCode::OverLimit, message));
    }
    if grant.accounts.len() > POLICY_PRINCIPALS {
        return Err(over_limit("principals", POLICY_PRINCIPALS));
    }
    if let Some(account) = grant.accounts.iter().find(|account| !is_account(account)) {
        let shown: String = account.chars().take(30).collect();
        return Err(SqsError::invalid_value(
            format_args!("[{shown}]"),
            "PrincipalId",
            "An account's id has 12 digits.",
        ));
    }
    let mut document = match policy {
        None => Map::from_iter([
            ("Version".to_owned(), json!("2012-10-17")),
            ("Id".to_owned(), json!(format!("{queue_arn}/SQSDefaultPolicy"))),
        ]),
        Some(policy) => read(policy)?,
    };
    let mut statements = take_statements(&mut document);
    if statements.iter().any(|statement| is_labelled(statement, grant.label)) {
        return Err(SqsError::invalid_value(grant.label, "Label", "Already exists."));
    }
    if statements.len() >= POLICY_STATEMENTS {
        return Err(over_limit("statements", POLICY_STATEMENTS));
    }
    statements.push(statement(grant.label, grant.accounts, actions, queue_arn));
    write(document, statements)
}

/// The policy without the statement of this label; `None` if no other is left.
///
/// # Errors
/// `InvalidParameterValue` if there is none such.
pub(crate) fn remove(policy: Option<&str>, label: &str) -> Result<Option<String>, SqsError> {
    let unknown = || SqsError::invalid_value(label, "Label", "can't find label on existing policy.");
    let mut document = read(policy.ok_or_else(unknown)?)?;
    let mut statements = take_statements(&mut document);
    let before = statements.len();
    statements.retain(|statement| !is_labelled(statement, label));
    if statements.len() == before {
        return Err(unknown());
    }
    if statements.is_empty() {
        return Ok(None);
    }
    write(document, statements).map(Some)
}

fn checked_action(action: &str) -> Result<Value, SqsError> {
    if ACTIONS.contains(&action) {
        return Ok(Value::String(format!("SQS:{action}")));
    }
    let shown: String = action.chars().take(100).collect();
    let reason = match OWNERS.contains(&action) {
        true => "Only the queue owner is allowed to invoke this action.".to_owned(),
        false => format!("The actions that can be allowed are {}.", ACTIONS.join(", ")),
    };
    Err(SqsError::invalid_value(format_args!("SQS:{shown}"), "ActionName", &reason))
}

fn read(policy: &str) -> Result<Map<String, Value>, SqsError> {
    serde_json::from_str(policy).map_err(|_| {
        SqsError::invalid("The queue's Policy is no JSON object; set it anew with SetQueueAttributes.")
    })
}

/// True for what has an account's form.
pub(crate) fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Accounts may do something with what has this ARN.
pub(crate) fn statement(label: &str, accounts: &[&str], actions: Vec<Value>, arn: &str) -> Value {
    let principals = accounts.iter().map(|account| json!(format!("arn:aws:iam::{account}:root"))).collect();
    json!({
        "Sid": label,
        "Effect": "Allow",
        "Principal": {"AWS": one_or_all(principals)},
        "Action": one_or_all(actions),
        "Resource": arn,
    })
}

/// One statement may stand alone, without a list.
pub(crate) fn take_statements(document: &mut Map<String, Value>) -> Vec<Value> {
    match document.remove("Statement") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(statements)) => statements,
        Some(statement) => vec![statement],
    }
}

/// True for the statement with this label.
pub(crate) fn is_labelled(statement: &Value, label: &str) -> bool {
    statement.get("Sid").and_then(Value::as_str) == Some(label)
}

fn one_or_all(mut values: Vec<Value>) -> Value {
    match values.len() {
        1 => values.pop().unwrap_or(Value::Null),
        _ => Value::Array(values),
    }
}

fn write(mut document: Map<String, Value>, statements: Vec<Value>) -> Result<String, SqsError> {
    document.insert("Statement".to_owned(), Value::Array(statements));
    let policy = Value::Object(document).to_string();
    match policy.len() > POLICY_BYTES {
        true => Err(over_limit("bytes", POLICY_BYTES)),
        false => Ok(policy),
    }
}

fn over_limit(what: &str, most: usize) -> SqsError {
    SqsError::new(ErrorCode::OverLimit, format!("The Policy would have more than {most} {what}."))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const ARN: &str = "arn:aws:sqs:us-east-1:000000000000:q";

    fn grant<'a>(label: &'a str, accounts: &'a [&'a str], actions: &'a [&'a str]) -> Grant<'a> {
        Grant { label, accounts, actions }
    }

    #[test]
    fn statements_are_added_and_removed_by_label() {
        let one = add(None, ARN, grant("a", &["111111111111"], &["SendMessage"])).unwrap();
        let document: Value = serde_json::from_str(&one).unwrap();
        assert_eq!(document["Id"], format!("{ARN}/SQSDefaultPolicy"));
        assert_eq!(
            document["Statement"],
            json!([{"Sid": "a", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111111111111:root"},
                "Action": "SQS:SendMessage", "Resource": ARN}])
        );
        let two = add(Some(&one), ARN, grant("b", &["111111111111", "222222222222"], &["*", "PurgeQueue"]));
        let two = two.unwrap();
        let document: Value = serde_json::from_str(&two).unwrap();
        assert_eq!(document["Statement"][1]["Action"], json!(["SQS:*", "SQS:PurgeQueue"]));
        assert_eq!(document["Statement"][1]["Principal"]["AWS"][1], "arn:aws:iam::222222222222:root");
        let left = remove(Some(&two), "a").unwrap().unwrap();
        assert_eq!(remove(Some(&left), "b").unwrap(), None);
        assert!(remove(Some(&left), "a").is_err() && remove(None, "a").is_err());
    }

    #[test]
    fn a_statement_of_ones_own_is_kept() {
        let own = r#"{"Version":"2008-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"*"}}"#;
        let both = add(Some(own), ARN, grant("a", &["111111111111"], &["SendMessage"])).unwrap();
        let left = remove(Some(&both), "a").unwrap().unwrap();
        let document: Value = serde_json::from_str(&left).unwrap();
        assert_eq!(
            (&document["Version"], &document["Statement"][0]["Effect"]),
            (&json!("2008-10-17"), &json!("Deny"))
        );
    }

    #[test]
    fn what_cannot_be_granted_is_refused() {
        let refused = |policy: Option<&str>, wanted: Grant<'_>| add(policy, ARN, wanted).unwrap_err();
        let one = ["111111111111"];
        for actions in [["DeleteQueue"], ["Nonsense"], ["SQS:SendMessage"], [""]] {
            assert_eq!(refused(None, grant("a", &one, &actions)).code, ErrorCode::InvalidParameterValue);
        }
        for account in ["", "1", "11111111111x", "1111111111111"] {
            let error = refused(None, grant("a", &[account], &["SendMessage"]));
            assert_eq!(error.code, ErrorCode::InvalidParameterValue);
        }
        assert_eq!(refused(None, grant("a", &one, &["SendMessage"; 8])).code, ErrorCode::OverLimit);
        assert_eq!(refused(None, grant("a", &["111111111111"; 51], &["*"])).code, ErrorCode::OverLimit);
        let twice = add(None, ARN, grant("a", &one, &["SendMessage"])).unwrap();
        assert!(refused(Some(&twice), grant("a", &one, &["*"])).message.contains("Already exists"));
        let mut full = twice;
        for index in 1..20 {
            full = add(Some(&full), ARN, grant(&format!("s{index}"), &one, &["*"])).unwrap();
        }
        assert_eq!(refused(Some(&full), grant("last", &one, &["*"])).code, ErrorCode::OverLimit);
        assert_eq!(refused(Some("[]"), grant("a", &one, &["*"])).code, ErrorCode::InvalidParameterValue);
    }
}
