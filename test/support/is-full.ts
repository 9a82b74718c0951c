// Some tests are short for every change, and as long as they should be in `npm run test:full`.

/** Whether each test takes the time that it wants. */
export const isFull = process.env.LICTOR_TEST_FULL === "1";
