//! DescribeClientQuotas, AlterClientQuotas. Source: KIP-546.

use crate::codec::message::message;

message! {
    DescribeClientQuotasRequest {
        components: Vec<QuotaFilter> [..];
        strict: bool [..];
    }
    QuotaFilter {
        entity_type: String [..];
        match_type: i8 [..];
        r#match: Option<String> [..];
    }
    DescribeClientQuotasResponse {
        throttle_time_ms: i32 [..];
        error_code: i16 [..];
        error_message: Option<String> [..];
        entries: Option<Vec<QuotaEntry>> [..];
    }
    QuotaEntry {
        entity: Vec<QuotaEntity> [..];
        values: Vec<QuotaValue> [..];
    }
    QuotaEntity {
        entity_type: String [..];
        // Null is the default of all that are not named.
        entity_name: Option<String> [..];
    }
    QuotaValue {
        key: String [..];
        value: f64 [..];
    }
    AlterClientQuotasRequest {
        entries: Vec<QuotaAlteration> [..];
        validate_only: bool [..];
    }
    QuotaAlteration {
        entity: Vec<QuotaEntity> [..];
        ops: Vec<QuotaOperation> [..];
    }
    QuotaOperation {
        key: String [..];
        value: f64 [..];
        remove: bool [..];
    }
    AlterClientQuotasResponse {
        throttle_time_ms: i32 [..];
        entries: Vec<QuotaAlterationResult> [..];
    }
    QuotaAlterationResult {
        error_code: i16 [..];
        error_message: Option<String> [..];
        entity: Vec<QuotaEntity> [..];
    }
}
