"""Each kind of credentials; none is refused more than twice."""

from pathlib import Path

import pytest

from exporter.simulator import Simulator, fault
from tests.doctor.conftest import Examine, statuses

PASSWORD = "{{password: {{domain: example, username: exporter, password: {0}, project: cn-north-4}}}}"
WRONG_KEY = "{access_key: {access_key: EXAMPLE-ACCESS-KEY, secret_key: wr0ng}}"


class TestKinds:
    def test_a_token_ends(self, examined: Examine) -> None:
        found = examined(auth="{token: example-token}")
        assert "24 hours" in found.section("Credentials")[0]
        assert any("instead of a token" in change for change in found.report.changes)

    def test_a_token_file_is_renewed_by_another_program(self, tmp_path: Path, examined: Examine) -> None:
        (tmp_path / "token").write_text("example-token\n")
        found = examined(auth="{token_file: token}")
        assert "has to renew it" in found.section("Credentials")[0]
        assert found.problems == []

    def test_a_password_gets_tokens(self, examined: Examine) -> None:
        first = examined(auth=PASSWORD.format("example-password")).section("Credentials")[0]
        assert "(for 24 h 00 min)" in first or "(for 23 h 59 min)" in first
        assert "renewed automatically" in first

    def test_an_agency_gets_keys(self, simulator: Simulator, examined: Examine) -> None:
        found = examined(auth=f"{{ecs_agency: {{metadata_endpoint: {simulator.url}}}}}")
        assert found.problems == []
        assert "renewed automatically" in found.section("Credentials")[0]

    def test_a_temporary_key_is_not_renewed(self, examined: Examine) -> None:
        auth = "{access_key: {access_key: A, secret_key: b, security_token: c}}"
        assert "is not renewed" in examined(auth=auth).section("Credentials")[0]


class TestRefusals:
    @pytest.mark.parametrize(
        ("auth", "todo"),
        [
            (WRONG_KEY, "check secret_key"),
            ("{access_key: {access_key: NOBODY, secret_key: wr0ng}}", "check access_key for a typo"),
            ("{token: wr0ng}", "get a new token"),
            (PASSWORD.format("wr0ng"), "check domain, username and password"),
        ],
        ids=["secret key", "access key", "token", "password"],
    )
    def test_wrong_credentials_are_tried_once(
        self, auth: str, todo: str, simulator: Simulator, examined: Examine
    ) -> None:
        found = examined(auth=auth)
        assert statuses(simulator, 401) == 1
        assert todo in " ".join(found.text.split())
        assert "job-list: not known, the examination stopped here (see Credentials)" in found.text
        assert "see Address" not in found.text
        assert examined("projects: [all]", jobs=[], auth=auth).section("Jobs") == [
            "note: none is known (see Credentials)"
        ]
        assert "wr0ng" not in found.text

    def test_a_locked_key_is_left_alone(self, simulator: Simulator, examined: Examine) -> None:
        for _ in range(5):
            assert examined(auth=WRONG_KEY).problems
        found = examined()
        assert statuses(simulator, 401) == 6
        assert any("the key is locked" in text for text in found.problems)

    def test_an_expired_token_is_renewed_once(self, simulator: Simulator, examined: Examine) -> None:
        simulator.faults.add(fault("unauthorized", operation="job-list", times=1))
        assert examined(auth=PASSWORD.format("example-password")).problems == []

    def test_a_second_refusal_of_a_token_ends_the_examination(
        self, simulator: Simulator, examined: Examine
    ) -> None:
        simulator.faults.add(fault("unauthorized", operation="job-list"))
        found = examined(auth=PASSWORD.format("example-password"))
        assert statuses(simulator, 401) == 2
        assert len(found.problems) == 1

    def test_one_operation_may_refuse_an_accepted_token(
        self, simulator: Simulator, examined: Examine
    ) -> None:
        simulator.faults.add(
            fault("unauthorized", operation="job-list", times=1),
            fault("unauthorized", operation="recycling-jobs"),
        )
        found = examined(auth=PASSWORD.format("example-password"))
        assert statuses(simulator, 401) == 2
        assert len(found.problems) == 1
        assert "other operations accept the credentials" in " ".join(found.text.split())
        asked = [exchange.operation for exchange in simulator.requests]
        assert "period-history" in asked, "the others were asked as ever"

    def test_two_operations_that_refuse_an_accepted_token_end_the_examination(
        self, simulator: Simulator, examined: Examine
    ) -> None:
        simulator.faults.add(
            fault("unauthorized", operation="job-list", times=1),
            fault("unauthorized", operation="recycling-jobs"),
            fault("unauthorized", operation="period-history"),
        )
        examined(auth=PASSWORD.format("example-password"))
        assert statuses(simulator, 401) == 3
        asked = [exchange.operation for exchange in simulator.requests]
        assert asked[-1] == "period-history", "nothing was asked after two refusals in a row"

    def test_keys_of_an_agency_are_renewed_once_too(self, simulator: Simulator, examined: Examine) -> None:
        simulator.faults.add(
            fault("unauthorized", operation="job-list", times=1),
            fault("unauthorized", operation="record-info"),
        )
        found = examined(auth=f"{{ecs_agency: {{metadata_endpoint: {simulator.url}}}}}")
        assert statuses(simulator, 401) == 2
        assert len(found.problems) == 1

    def test_a_wrong_token_in_a_file_is_tried_once(
        self, simulator: Simulator, examined: Examine, tmp_path: Path
    ) -> None:
        (tmp_path / "token").write_text("wr0ng\n")
        assert examined(auth="{token_file: token}").problems
        assert statuses(simulator, 401) == 1

    def test_an_expired_token_without_renewal_is_tried_once(
        self, simulator: Simulator, examined: Examine
    ) -> None:
        simulator.expire_tokens()
        found = examined(auth="{token: example-token}")
        assert (statuses(simulator, 401), len(found.problems)) == (1, 1)

    def test_a_refused_signature_is_explained_by_the_clock(
        self, simulator: Simulator, examined: Examine
    ) -> None:
        simulator.faults.add(fault("date-skew", seconds=3000), fault("unauthorized"))
        found = examined()
        assert any("probably because of the clock" in text for text in found.problems)
