"""Nothing is left."""


def test_uninstalling_leaves_nothing(installation, timeline):
    timeline.section("Uninstall")
    namespace = installation.namespace
    with timeline.timed("edgewise k8s uninstall"):
        assert not installation.begin("uninstall", "--delete-namespace").wait(130)
    cluster = namespace.cluster
    kinds = "deployments,replicasets,pods,services,configmaps,secrets,serviceaccounts,roles,rolebindings"
    left = cluster.kubectl("get", kinds, "--all-namespaces", "-l", "edgewise-suite=cluster", "-o", "name")
    timeline.say(f"left: {left.split() or 'nothing'}")
    assert not left.split()
    spaces = cluster.kubectl("get", "namespaces", "-o", "name").split()
    assert f"namespace/{namespace.name}" not in spaces
