//! AddPermission, RemovePermission: statements of the attribute `Policy`, which is kept and given back.

use super::{Answer, Call, change_queue};
use crate::codec::{arn, request, rules};
use crate::error::SqsError;
use crate::limits::NAMES;
use crate::policy::{self, Grant};

pub(super) async fn add(call: &Call<'_>) -> Answer {
    let request: request::AddPermission<'_> = call.read()?;
    let queue = call.queue(request.queue_url.as_ref())?;
    let label = label(request.label.as_deref())?;
    let lists = [(&request.aws_account_ids, "AWSAccountIds"), (&request.actions, "Actions")];
    for (list, parameter) in lists {
        if list.count == 0 {
            return Err(SqsError::missing(parameter));
        }
        if list.count > NAMES {
            return Err(SqsError::invalid(format!("The request has too many {parameter}.")));
        }
    }
    let [accounts, actions] =
        lists.map(|(list, _)| list.kept.iter().map(|text| text.as_str()).collect::<Vec<_>>());
    let arn = arn::of_queue(call.echo.region, call.echo.account, &queue.name);
    change_queue(call, request.queue_url.as_ref(), |_, settings| {
        let grant = Grant { label, accounts: &accounts, actions: &actions };
        let policy = policy::add(settings.label("Policy"), &arn, grant)?;
        settings.set_label("Policy", &policy);
        Ok(())
    })
    .await?;
    call.done()
}

pub(super) async fn remove(call: &Call<'_>) -> Answer {
    let request: request::RemovePermission<'_> = call.read()?;
    change_queue(call, request.queue_url.as_ref(), |_, settings| {
        let label = label(request.label.as_deref())?;
        let policy = policy::remove(settings.label("Policy"), label)?;
        settings.set_label("Policy", policy.as_deref().unwrap_or(""));
        Ok(())
    })
    .await?;
    call.done()
}

fn label(label: Option<&str>) -> Result<&str, SqsError> {
    let label = label.filter(|label| !label.is_empty()).ok_or_else(|| SqsError::missing("Label"))?;
    match rules::is_batch_id(label) {
        true => Ok(label),
        false => Err(SqsError::invalid("The Label has 1 to 80 letters, digits, hyphens or underscores.")),
    }
}
