//! AddPermission, RemovePermission: statements of the attribute `Policy`, which is kept and given back, not evaluated.

use serde_json::{Map, Value, json};

use super::topics::default_policy;
use super::{Answer, Call, SnsError, attributes, shown};
use crate::limits::{POLICY_BYTES, POLICY_PRINCIPALS, POLICY_STATEMENTS};
use crate::policy::{is_account, is_labelled, statement, take_statements};

/// Actions that others can be allowed.
const ACTIONS: [&str; 9] = [
    "*",
    "AddPermission",
    "DeleteTopic",
    "GetTopicAttributes",
    "ListSubscriptionsByTopic",
    "Publish",
    "RemovePermission",
    "SetTopicAttributes",
    "Subscribe",
];

pub(super) async fn add(call: &Call<'_>) -> Answer {
    let label = call.params.required("Label")?;
    let accounts: Vec<&str> = call.params.values("AWSAccountId").collect();
    let actions: Vec<&str> = call.params.values("ActionName").collect();
    for (list, parameter) in [(&accounts, "AWSAccountId"), (&actions, "ActionName")] {
        if list.is_empty() {
            return Err(SnsError::missing(parameter));
        }
    }
    if let Some(action) = actions.iter().find(|action| !ACTIONS.contains(action)) {
        return Err(SnsError::invalid(format!(
            "Invalid parameter: Policy statement action out of service scope! ({})",
            shown(action)
        )));
    }
    if accounts.len() > POLICY_PRINCIPALS || !accounts.iter().all(|account| is_account(account)) {
        return Err(SnsError::invalid_because("AWSAccountId", "An account's id has 12 digits"));
    }
    let actions: Vec<Value> = actions.iter().map(|action| json!(format!("SNS:{action}"))).collect();
    call.change_topic("TopicArn", |topic, labels| {
        let arn = call.topic_arn(&topic.name);
        let (mut document, mut statements) =
            read(attributes::get(labels, "Policy"), &arn, call.echo.account)?;
        if statements.iter().any(|it| is_labelled(it, label)) {
            return Err(SnsError::invalid("Invalid parameter: Statement already exists"));
        }
        if statements.len() >= POLICY_STATEMENTS {
            return Err(SnsError::invalid_because("Policy", "it would have more than 20 statements"));
        }
        statements.push(statement(label, &accounts, actions.clone(), &arn));
        document.insert("Statement".to_owned(), Value::Array(statements));
        let policy = Value::Object(document).to_string();
        if policy.len() > POLICY_BYTES {
            return Err(SnsError::invalid_because("Policy", "it would be longer than 20 KiB"));
        }
        attributes::set(labels, "Policy", &policy);
        Ok(())
    })
    .await?;
    call.done()
}

pub(super) async fn remove(call: &Call<'_>) -> Answer {
    let label = call.params.required("Label")?;
    call.change_topic("TopicArn", |topic, labels| {
        let arn = call.topic_arn(&topic.name);
        let (mut document, mut statements) =
            read(attributes::get(labels, "Policy"), &arn, call.echo.account)?;
        statements.retain(|it| !is_labelled(it, label));
        document.insert("Statement".to_owned(), Value::Array(statements));
        attributes::set(labels, "Policy", &Value::Object(document).to_string());
        Ok(())
    })
    .await?;
    call.done()
}

/// The document without its statements, and these.
fn read(
    policy: Option<&str>,
    arn: &str,
    account: &str,
) -> Result<(Map<String, Value>, Vec<Value>), SnsError> {
    let policy = policy.map_or_else(|| default_policy(arn, account), str::to_owned);
    let mut document: Map<String, Value> = serde_json::from_str(&policy)
        .map_err(|_| SnsError::invalid_because("Policy", "it is no JSON object; set it anew"))?;
    let statements = take_statements(&mut document);
    Ok((document, statements))
}
