from __future__ import annotations


def test_datasets_are_listed(command):
    ran = command("datasets")
    assert ran.code == 0
    assert "breast_cancer  classification     569 × 30" in ran.stdout
