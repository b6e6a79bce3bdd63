/* SPDX-License-Identifier: MIT
 *
 * Stacks of the model's threads: begun by ucontext, and left and returned to by setjmp, which makes no calls of the system as
 * swapcontext does, for a signal mask that is always the same. With AddressSanitizer, which wants to be told, and takes a longjmp for
 * the end of a stack's frames, by ucontext alone.
 */
#include <stdlib.h>

#include "model/scheduler_parts.h"

#if WITH_ASAN
#include <sanitizer/asan_interface.h>
#endif

enum { STACK_SIZE = 256 << 10 };

static struct coroutine *left; /* the one that was left last */

static void leave(struct coroutine *from, const struct coroutine *to)
{
    left = from;
#if WITH_ASAN
    __sanitizer_start_switch_fiber(&from->fake, to->bottom, to->size);
#else
    (void)to;
#endif
}

void coroutine_arrived(struct coroutine *self)
{
#if WITH_ASAN
    const void *bottom;
    size_t size;
    __sanitizer_finish_switch_fiber(self->fake, &bottom, &size);
    if (left->stack == NULL) {
        left->bottom = bottom;
        left->size = size;
    }
#else
    (void)self;
#endif
}

void coroutine_start(struct coroutine *coroutine, void (*body)(void))
{
    if (coroutine->stack == NULL && (coroutine->stack = malloc(STACK_SIZE)) == NULL) abort();
#if WITH_ASAN
    __asan_unpoison_memory_region(coroutine->stack, STACK_SIZE); /* of a run that was left: the frames */
#endif
    if (getcontext(&coroutine->context) != 0) abort();
    coroutine->context.uc_stack.ss_sp = coroutine->stack;
    coroutine->context.uc_stack.ss_size = STACK_SIZE;
    coroutine->context.uc_link = NULL;
    coroutine->bottom = coroutine->stack;
    coroutine->size = STACK_SIZE;
    coroutine->fake = NULL;
    coroutine->begun = false;
    makecontext(&coroutine->context, body, 0);
}

void coroutine_switch(struct coroutine *from, struct coroutine *to)
{
    leave(from, to);
#if WITH_ASAN
    if (swapcontext(&from->context, &to->context) != 0) abort();
#else
    from->begun = true;
    if (_setjmp(from->left) == 0) {
        if (to->begun) _longjmp(to->left, 1);
        setcontext(&to->context);
        abort();
    }
#endif
    coroutine_arrived(from);
}
