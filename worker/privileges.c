/* The order is the usual one and matters: groups while we are root, then gid, then uid.  Checking
 * afterwards is no ceremony: kept capabilities, or a user namespace that maps no other user, have
 * made such calls succeed in part. */
#include "worker/privileges.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/mem.h"

/* -1 is "leave it" to the kernel and so nobody's number. */
static bool id_parse(const char *text, unsigned *ret)
{
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    unsigned long v = strtoul(text, &end, 10);
    if (errno != 0 || *end != '\0' || v >= UINT_MAX)
        return false;
    *ret = (unsigned)v;
    return true;
}

static int find_user(const char *name, struct privileges *ret, struct err *err)
{
    unsigned id;
    bool numeric = id_parse(name, &id);
    errno = 0;
    const struct passwd *pw = getpwnam(name);
    if (pw == NULL && numeric)
        pw = getpwuid(id);
    if (pw == NULL && !numeric)
        return err_set(err, ERR_NOT_FOUND, "user %s does not exist", name);
    *ret = (struct privileges){
        .uid = pw != NULL ? pw->pw_uid : id,
        .gid = pw != NULL ? pw->pw_gid : id,
        .name = xstrdup(pw != NULL ? pw->pw_name : name),
        .home = xstrdup(pw != NULL && pw->pw_dir[0] == '/' ? pw->pw_dir : "/"),
    };
    return 0;
}

static int find_group(const char *name, gid_t *ret, struct err *err)
{
    unsigned id;
    const struct group *gr = getgrnam(name);
    if (gr != NULL)
        *ret = gr->gr_gid;
    else if (id_parse(name, &id))
        *ret = id;
    else
        return err_set(err, ERR_NOT_FOUND, "group %s does not exist", name);
    return 0;
}

int privileges_find(const char *user, struct privileges *ret, struct err *err)
{
    struct privileges found = {.name = NULL};
    const char *colon = strchr(user, ':');
    char *name = colon != NULL ? xstrndup(user, (size_t)(colon - user)) : xstrdup(user);
    int rc = find_user(name, &found, err);
    if (rc == 0 && colon != NULL)
        rc = find_group(colon + 1, &found.gid, err);
    if (rc == 0)
        *ret = found;
    else
        privileges_done(&found);
    free(name);
    return rc;
}

void privileges_done(struct privileges *p)
{
    free(p->name);
    free(p->home);
    p->name = p->home = NULL;
}

static bool is_already(const struct privileges *p)
{
    uid_t r, e, s;
    gid_t gr, ge, gs;
    return getresuid(&r, &e, &s) == 0 && getresgid(&gr, &ge, &gs) == 0 && r == p->uid &&
           e == p->uid && s == p->uid && gr == p->gid && ge == p->gid && gs == p->gid;
}

/* What root's login left in the environment would lead handlers to files they may not read. */
static void environment_set(const struct privileges *p)
{
    static const char *const roots[] = {"XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CONFIG_HOME",
                                        "XDG_CACHE_HOME",  "XDG_DATA_HOME",  "MAIL",
                                        "SUDO_USER",       "SUDO_UID",       "SUDO_GID",
                                        "SUDO_COMMAND"};
    for (size_t i = 0; i < ARRAY_COUNT(roots); i++)
        unsetenv(roots[i]);
    setenv("HOME", p->home, 1);
    setenv("USER", p->name, 1);
    setenv("LOGNAME", p->name, 1);
}

int privileges_change(const struct privileges *p, struct err *err)
{
    if (is_already(p))
        return 0;
    if (geteuid() != 0)
        return err_set(err, ERR_PERMISSION, "cannot become user %s: only root can (we are uid %u)",
                       p->name, (unsigned)geteuid());
    if (initgroups(p->name, p->gid) == -1)
        return err_errno(err, ERR_PERMISSION, "cannot set the groups of user %s", p->name);
    if (setresgid(p->gid, p->gid, p->gid) == -1)
        return err_errno(err, ERR_PERMISSION, "cannot become group %u", (unsigned)p->gid);
    if (setresuid(p->uid, p->uid, p->uid) == -1)
        return err_errno(err, ERR_PERMISSION, "cannot become user %s", p->name);
    if (!is_already(p))
        return err_set(err, ERR_PERMISSION, "became user %s only in part", p->name);
    if (p->uid != 0 && setresuid(0, 0, 0) == 0)
        return err_set(err, ERR_PERMISSION, "user %s could become root again", p->name);
    if (p->uid != 0 && p->gid != 0 && setresgid(0, 0, 0) == 0)
        return err_set(err, ERR_PERMISSION, "user %s could have root's group again", p->name);
    environment_set(p);
    return 0;
}

bool privileges_warn_root(uid_t euid, const char *user)
{
    return euid == 0 && (user == NULL || *user == '\0');
}
