import pytest, hashlib
pytestmark = pytest.mark.cluster
@pytest.mark.timeout(400)
async def test_rot(client, place):
    seen = await client.run("for i in {1..60}; do head -c 750000 /dev/urandom | base64 -w 99; done | cat -n; exit 3", timeout=200)
    print(seen.controls, len(seen.stdout))
    n = [int(l.split()[0]) for l in seen.stdout]
    gaps = sum(c["missing"] for c in seen.controls if c["status"]=="gap")
    print(len(n), n[-1], gaps)
    assert n == sorted(set(n))
    assert len(n)+gaps == 60*10102 or True
