"""Of a plugin's arguments and variables exactly those are masked that are secret."""

import pytest

from k8s_mcp.kubeconfig.kubeconfig import Allowed, parse
from k8s_mcp.kubeconfig.plugin_secrets import secrets_of
from k8s_mcp.kubeconfig.redact import Redactor
from tests.support.kubeconfig_trees import EXEC, tree, written

UUID = "6dae42f8-4368-4678-94ff-3960e28e3630"
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJtZSJ9.c2lnbmF0dXJl"
HEX = "".join(f"{number:x}" for number in (0xDEAD10CC, 0xFACE0FF5, 0x5CA1AB1E, 0x0B5E55ED))
MADE_UP = "wJalrXUtnFEMI/K7MDENG/bPxRfiCY" + "MADEUPKEY"  # as those of AWS look

SECRET_ENV = {
    "AWS_SECRET_ACCESS_KEY": MADE_UP,
    "AWS_SESSION_TOKEN": "correct horse battery staple",
    "AZURE_CLIENT_SECRET": "S3cr3t-value",
    "clientSecret": "S3cr3t-value",
    "KUBELOGIN_PASSWORD": "hunter2hunter2",
    "API_KEY": "plain-words-here",
    "apiKey": "plain-words-here",
    "GITHUB_PAT": "plain-words-here",
    "SOMETHING": JWT,
    "OTHER": f"{HEX}",
    "ID": "ghp_" + "a" * 36,
    "PEM": "-----BEGIN RSA PRIVATE KEY-----\\nMIIB",
}
PLAIN_ENV = {
    "AWS_REGION": "eu-west-1",
    "AWS_DEFAULT_REGION": "ap-southeast-2",
    "AWS_PROFILE": "production-admin",
    "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/EksAdministrator",
    "AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/secrets/eks.amazonaws.com/serviceaccount/token",
    "AWS_STS_REGIONAL_ENDPOINTS": "regional",
    "AWS_ACCESS_KEY_ID": "plain-identifier",
    "AZURE_TENANT_ID": UUID,
    "AZURE_CLIENT_ID": UUID,
    "AZURE_ENVIRONMENT": "AzurePublicCloud",
    "GOOGLE_APPLICATION_CREDENTIALS": "/var/secrets/google/key.json",
    "TOKEN_URL": "https://login.example.com/oauth2/token",
    "KUBERNETES_EXEC_INFO": "{}",
    "CLUSTER": "gke_project-1234_europe-west1-b_Production",
    "NODE": "ip-10-20-30-40.eu-west-1.compute.internal",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin",
    "HTTPS_PROXY": "http://proxy.example.com:3128",
    "KEYBOARD": "us-international",
    "MONKEY": "capuchin-monkey",
}


@pytest.mark.parametrize(("name", "value"), SECRET_ENV.items(), ids=SECRET_ENV)
def test_variable_that_is_secret_by_its_name_or_form_is_masked(name: str, value: str) -> None:
    assert value in list(secrets_of([], [(name, value)]))


@pytest.mark.parametrize(("name", "value"), PLAIN_ENV.items(), ids=PLAIN_ENV)
def test_any_other_variable_is_left_alone(name: str, value: str) -> None:
    assert list(secrets_of([], [(name, value)])) == []


@pytest.mark.parametrize(
    "args",
    [
        ["--client-secret", "S3cr3t"],
        ["--client-secret=S3cr3t"],
        ["get-token", "--login", "spn", "--oidc-client-secret", "S3cr3t", "--tenant-id", UUID],
        ["-password", "S3cr3t"],
        ["--set", "token=S3cr3t"],
        ["-c", "plugin --region eu-west-1 --client-secret 'S3cr3t' | cat"],
        ["-c", "TOKEN=S3cr3t plugin"],
        ['{"user": "me", "password": "S3cr3t"}'],
        ['{"password":"S3cr3t"}'],
        ["https://me:S3cr3t@login.example.com/"],
        ["--header", "Authorization: Bearer S3cr3t"],
    ],
    ids=" ".join,
)
def test_argument_that_is_secret_is_masked(args: list[str]) -> None:
    found = list(secrets_of(args, []))
    assert "S3cr3t" in [value.strip() for value in found]
    assert not [value for value in found if value in ("eu-west-1", UUID, "me", "spn", "plugin")]


@pytest.mark.parametrize("value", [JWT, HEX, MADE_UP, "hvs." + "a" * 24])
def test_argument_without_a_name_is_masked_by_its_form(value: str) -> None:
    assert list(secrets_of(["login", value], [])).count(value) == 1
    assert value in list(secrets_of([f"--what={value}"], []))
    assert value in list(secrets_of(["-c", f"plugin {value}"], []))


@pytest.mark.parametrize(
    "args",
    [
        ["--region", "eu-west-1", "eks", "get-token", "--cluster-name", "MyProduction1", "--output", "json"],
        ["token", "-i", "my-cluster-in-production", "--role", "arn:aws:iam::123456789012:role/Admin"],
        [
            "get-token",
            "--environment",
            "AzurePublicCloud",
            "--server-id",
            UUID,
            "--client-id",
            UUID,
            "--login",
            "msi",
        ],
        [
            "kube",
            "credentials",
            "--kube-cluster=production",
            "--teleport-cluster=teleport.example.com",
            "--proxy=a.b:443",
        ],
        ["get-token", "--oidc-issuer-url=https://login.example.com/realms/main", "--oidc-client-id=kubernetes"],
        ["--token-file", "/var/run/secrets/token", "--token-cache-dir", "/home/me/.kube/cache/oidc-login"],
        ["--cluster-id=c-m-7x2kq9ab", "--server=https://rancher.example.com", "--password-stdin"],
    ],
    ids=" ".join,
)
def test_arguments_as_plugins_have_them_are_left_alone(args: list[str]) -> None:
    assert list(secrets_of(args, [])) == []


def test_region_of_a_plugin_stays_in_the_output_and_its_secrets_do_not() -> None:
    plugin = {
        **EXEC,
        "args": ["eks", "get-token", "--client-secret", "S3cr3t-value"],
        "env": [
            {"name": "AWS_REGION", "value": "eu-west-1"},
            {"name": "AWS_SESSION_TOKEN", "value": "a-session-token"},
        ],
    }
    config = parse(written(tree(user={"token": None, "exec": plugin})), Allowed(None))
    output = "ip-10-0-1-2.eu-west-1.compute.internal S3cr3t-value a-session-token"
    masked = Redactor(config.secrets()).mask(output)
    assert masked == "ip-10-0-1-2.eu-west-1.compute.internal [redacted] [redacted]"
