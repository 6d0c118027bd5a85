//! JoinGroup, SyncGroup, Heartbeat, LeaveGroup. Source: KIP-62, KIP-345, KIP-394, KIP-559, KIP-800, KIP-814.

use bytes::Bytes;

use crate::codec::message::message;

message! {
    JoinGroupRequest {
        group_id: String [..];
        session_timeout_ms: i32 [..];
        rebalance_timeout_ms: i32 [1..] = -1;
        member_id: String [..];
        group_instance_id: Option<String> [5..];
        protocol_type: String [..];
        protocols: Vec<JoinGroupRequestProtocol> [..];
        reason: Option<String> [8..];
    }
    JoinGroupRequestProtocol {
        name: String [..];
        metadata: Bytes [..];
    }
    JoinGroupResponse {
        throttle_time_ms: i32 [2..];
        error_code: i16 [..];
        generation_id: i32 [..] = -1;
        protocol_type: Option<String> [7..];
        protocol_name: Option<String> [..] null [7..];
        leader: String [..];
        skip_assignment: bool [9..];
        member_id: String [..];
        members: Vec<JoinGroupResponseMember> [..];
    }
    JoinGroupResponseMember {
        member_id: String [..];
        group_instance_id: Option<String> [5..];
        metadata: Bytes [..];
    }
    SyncGroupRequest {
        group_id: String [..];
        generation_id: i32 [..];
        member_id: String [..];
        group_instance_id: Option<String> [3..];
        protocol_type: Option<String> [5..];
        protocol_name: Option<String> [5..];
        assignments: Vec<SyncGroupRequestAssignment> [..];
    }
    SyncGroupRequestAssignment {
        member_id: String [..];
        assignment: Bytes [..];
    }
    SyncGroupResponse {
        throttle_time_ms: i32 [1..];
        error_code: i16 [..];
        protocol_type: Option<String> [5..];
        protocol_name: Option<String> [5..];
        assignment: Bytes [..];
    }
    HeartbeatRequest {
        group_id: String [..];
        generation_id: i32 [..];
        member_id: String [..];
        group_instance_id: Option<String> [3..];
    }
    HeartbeatResponse {
        throttle_time_ms: i32 [1..];
        error_code: i16 [..];
    }
    LeaveGroupRequest {
        group_id: String [..];
        member_id: String [..=2];
        members: Vec<MemberIdentity> [3..];
    }
    MemberIdentity {
        member_id: String [3..];
        group_instance_id: Option<String> [3..];
        reason: Option<String> [5..];
    }
    LeaveGroupResponse {
        throttle_time_ms: i32 [1..];
        error_code: i16 [..];
        members: Vec<MemberResponse> [3..];
    }
    MemberResponse {
        member_id: String [3..];
        group_instance_id: Option<String> [3..];
        error_code: i16 [3..];
    }
}
