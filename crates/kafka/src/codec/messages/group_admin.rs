//! ListGroups, DescribeGroups, DeleteGroups. Source: KIP-222, KIP-518, KIP-848, KIP-1043.

use bytes::Bytes;

use crate::codec::message::message;

message! {
    ListGroupsRequest {
        states_filter: Vec<String> [4..];
        types_filter: Vec<String> [5..];
    }
    ListGroupsResponse {
        throttle_time_ms: i32 [1..];
        error_code: i16 [..];
        groups: Vec<ListedGroup> [..];
    }
    ListedGroup {
        group_id: String [..];
        protocol_type: String [..];
        group_state: String [4..];
        group_type: String [5..];
    }
    DescribeGroupsRequest {
        groups: Vec<String> [..];
        include_authorized_operations: bool [3..];
    }
    DescribeGroupsResponse {
        throttle_time_ms: i32 [1..];
        groups: Vec<DescribedGroup> [..];
    }
    DescribedGroup {
        error_code: i16 [..];
        error_message: Option<String> [6..];
        group_id: String [..];
        group_state: String [..];
        protocol_type: String [..];
        protocol_data: String [..];
        members: Vec<DescribedGroupMember> [..];
        authorized_operations: i32 [3..] = i32::MIN;
    }
    DescribedGroupMember {
        member_id: String [..];
        group_instance_id: Option<String> [4..];
        client_id: String [..];
        client_host: String [..];
        member_metadata: Bytes [..];
        member_assignment: Bytes [..];
    }
    DeleteGroupsRequest {
        groups_names: Vec<String> [..];
    }
    DeleteGroupsResponse {
        throttle_time_ms: i32 [..];
        results: Vec<DeletableGroupResult> [..];
    }
    DeletableGroupResult {
        group_id: String [..];
        error_code: i16 [..];
    }
}
